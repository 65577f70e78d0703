"""Files that appear whole or not at all, and locks that the kernel takes back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block succeeds.

    Missing directories are created. A block that fails leaves `path` as it was and nothing beside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file of UTF-8 text or bytes whole or not at all; returns `path`."""
    with written_aside(path) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which is created where there is none.

    Where another process holds it, `on_wait` is called once and the lock waited for.
    """
    lock = acquire(path)
    if lock is None:
        if on_wait is not None:
            on_wait()
        lock = acquire(path, wait=True)
    assert lock is not None
    try:
        yield
    finally:
        os.close(lock)


def acquire(path: Path, *, shared: bool = False, wait: bool = False) -> int | None:
    """A descriptor of `path` that holds a lock until it is closed; None where another holds it.

    The kernel releases the lock when the last process that has the descriptor ends, however it
    ends. A shared lock excludes exclusive ones alone.
    """
    lock = os.open(path, os.O_RDONLY if shared and path.exists() else os.O_RDWR | os.O_CREAT, 0o600)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(lock, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock
