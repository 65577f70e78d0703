"""What is waited for, said when it begins: with a clock on a terminal, as a line elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tasks.display import CONSOLE

_log = logging.getLogger("automl")


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Say what the block does, and on a terminal how long it has been at it."""
    if not CONSOLE.is_terminal:
        _log.info("%s …", what)
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description} …"), TimeElapsedColumn()
    with Progress(*columns, console=CONSOLE, transient=True) as shown:
        shown.add_task(what, total=None)
        yield
