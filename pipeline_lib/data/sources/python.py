"""What a function of a user's Python file returns: data sets of torch, or arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline_lib.data.listing import Listing
from pipeline_lib.data.sources.pictured import Pictured
from pipeline_lib.data.sources.spooling import spooled
from pipeline_lib.own_code import Own

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig


class PythonFunction(Pictured):
    """`mine.py:function`, called in a child; see `docs/data.md`."""

    kind: ClassVar[str] = "python"

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """See `Pictured.listing`."""
        own = Own.parse("dataset", address)
        assert own is not None
        own.constants()  # says what is wrong with the file without a wait for the child
        return spooled(("python", own.address), own.title)
