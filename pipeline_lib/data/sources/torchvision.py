"""A classification data set of torchvision, by the name of its class, from a root on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline_lib.data.listing import Listing
from pipeline_lib.data.sources.pictured import Pictured
from pipeline_lib.data.sources.spooling import spooled
from pipeline_lib.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig


class TorchvisionSet(Pictured):
    """Read by torchvision in a child; nothing is downloaded."""

    kind: ClassVar[str] = "torchvision"
    takes: ClassVar[frozenset[str]] = Pictured.takes | {"data_root"}

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """See `Pictured.listing`."""
        if config.data_root is None:
            problem, remedy = "is missing", f"name the directory that holds torchvision's {address}"
            raise ConfigurationError("data_root", problem, remedy=remedy)
        return spooled(("torchvision", address, config.data_root), address)
