"""What a program handed to `find_model`, kept in a home, so that its run can be continued."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline_lib.data.listing import Listing
from pipeline_lib.data.sources import spool
from pipeline_lib.data.sources.pictured import Pictured
from pipeline_lib.home import Home

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig


class Given(Pictured):
    """Pictures and labels in memory, once they are kept."""

    kind: ClassVar[str] = "given"

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """See `Pictured.listing`."""
        return spool.read(Path(address), config.problem_name)


def keep(home: Home, data: Any) -> Path:
    """Keep what a program gave, under its digest; returns where.

    Raises:
        DataError: It is not what `spool.write` knows.
    """
    home.ensure_writable()
    aside = home.data / "given" / f".staging-{os.getpid()}-{threading.get_ident()}"
    try:
        digest = spool.write(aside, data, "data")
        kept = aside.with_name(digest[:16])
        with suppress(OSError):  # the same data are there: another run may be reading them
            aside.replace(kept)
        return kept
    finally:
        shutil.rmtree(aside, ignore_errors=True)
