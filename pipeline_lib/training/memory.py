"""How a process holds memory: it keeps what it freed, and looks for garbage seldom.

torch, MLflow and Prefect make two million objects that live as long as their process. By default
Python's collector looks at all of them many times while they load and twice more as the process
ends, and finds nothing: half of the seconds that it takes to import them and to exit.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import resource
import sys
from pathlib import Path

_NEW_OBJECTS = 100_000  # between two collections, 700 by default; a few megabytes at most
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def tune_process() -> None:
    """Make this process, which loads much, start, compute and end sooner for some megabytes."""
    keep_pages()
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)  # what is frozen is not looked at when the interpreter ends


def keep_pages() -> None:
    """Let the allocator keep the pages of freed batches, which would fault in for the next one.

    Page faults fall eightfold with glibc's thresholds raised. Elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_TOP_PAD):
            mallopt(option, 256 * 2**20)


def preload_and_freeze(*modules: str) -> None:
    """Import modules that the collector never looks at, in this process and those forked from it.

    So the pages of their objects stay shared, as the documentation of `gc.freeze` has it.
    """
    gc.disable()
    for name in modules:
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def limit_memory(mebibytes: int) -> None:
    """Let this process allocate so much more, on Linux; then allocations fail.

    The limit is on data (RLIMIT_DATA), not on addresses: torch maps gigabytes that it never
    touches. macOS does not enforce such limits, so nothing is done there.
    """
    if sys.platform != "linux":
        return
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held * 2**10 + mebibytes * 2**20
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
