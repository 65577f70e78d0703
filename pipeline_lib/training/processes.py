"""Processes from a forkserver that has torch loaded: quick to start, and they share memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess

from pipeline_lib.isolation import isolating

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pipeline_lib.training.preload"])

_TRIES, _PAUSE_SECONDS = 3, 0.2  # to start a process while its forkserver is killed
_starting = threading.Lock()


def start(process: ForkServerProcess) -> None:
    """Fork it; where the forkserver is killed meanwhile, multiprocessing starts another.

    Raises:
        OSError, EOFError: None of them lived long enough.
    """
    with _starting, _plain_main(), isolating():
        for _ in range(_TRIES - 1):
            with suppress(OSError, EOFError):
                process.start()
                return
            time.sleep(_PAUSE_SECONDS)  # until it can be seen that it is dead
        process.start()


@contextmanager
def _plain_main() -> Iterator[None]:
    """Hide `__main__` while a process starts.

    multiprocessing would import the parent's main module again in every child; under Prefect that
    is its engine, seconds a trial for nothing. One thread at a time: of two, the second would take
    the empty module of the first for the real one, and leave it behind.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Wait for the run to end, and end this process with it, whatever hangs here."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
