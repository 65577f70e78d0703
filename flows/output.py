"""Standard output and error whose reader may go away, or that were closed from the start."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

_GONE = {errno.EPIPE, errno.EIO}  # of a pipe, of a terminal
_STANDARD = (("stdin", 0), ("stdout", 1), ("stderr", 2))


def outlive_readers() -> None:
    """Let a reader that goes away cost the lines that it does not read, never the run.

    What is closed is opened on nothing: the next file of ours would get its number, and the lines.
    Streams that somebody has put in place of this process's own are left alone.
    """
    for _, number in _STANDARD:
        _ensure_open(number)
    for name, number in _STANDARD[1:]:
        if getattr(sys, name) is getattr(sys, f"__{name}__"):
            setattr(sys, name, _lasting(getattr(sys, name), number))


def _ensure_open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        _lead_nowhere(number)


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == number:
        os.set_inheritable(number, True)
    else:
        os.dup2(nowhere, number)
        os.close(nowhere)


def _lasting(before: TextIO | None, number: int) -> TextIO:
    if before is not None:
        before.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Lasting(number, "wb", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",  # a name that the terminal cannot show ends no run either
        line_buffering=number == 2 or os.isatty(number),
    )


class _Lasting(io.FileIO):
    def write(self, data: Any, /) -> int:
        """Write what the reader takes; once there is none, drop it."""
        try:
            while (written := super().write(data)) is None:  # the pipe is full and may not block
                select.select([], [self.fileno()], [])
        except OSError as error:
            if self.fileno() == 1 and error.errno not in _GONE:
                raise  # a full disk: a result is missed, a line of progress is not
            _lead_nowhere(self.fileno())
            return memoryview(data).nbytes
        return written
