"""Graceful shutdown on SIGINT, SIGTERM and SIGHUP.

A handler only writes the signal's number into a pipe; a thread that reads the pipe does the rest.
For a handler runs between any two instructions of the main thread: one that logs or imports may
wait for a lock that this very thread holds, and one that raises may leave a lock of the import
system held for good.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from types import FrameType
from typing import NoReturn

GRACE_SECONDS = 20.0
"""What a run may take to finish after SIGTERM or SIGHUP, before it is ended with what it has.

Kubernetes, Prefect and `automl up` kill a process 30 s after SIGTERM.
"""
CLOSING_SECONDS = 5.0
"""What a process that is to end at once may take to say so in MLflow and Prefect."""
STOPPED = 130
"""Exit code of a run that was stopped without a result: the shell's for Ctrl-C."""
NOTHING = "stopped before the first trial finished; nothing to evaluate"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOGGING_SECONDS = 1.0
_log = logging.getLogger("automl")
_End = Callable[[str], None]


@contextmanager
def stoppable(
    why_now: Callable[[], str] = str,
    end: _End | None = None,
    grace_seconds: float | None = GRACE_SECONDS,
) -> Iterator[threading.Event]:
    """An event that the first SIGINT, SIGTERM or SIGHUP sets; a second one ends at once.

    A signal that this process was started to ignore, as by `nohup`, stays ignored. Outside the main
    thread signals cannot be handled: there the event is never set.

    Args:
        why_now: A reason to end at once on the first signal, or nothing where the run can finish.
        end: Ends this process and says why; called in a thread of its own on a second signal, after
            `grace_seconds`, or for what `why_now` says. None: after the first signal the handlers
            before are in force again, and the program that they belong to ends as it likes.
        grace_seconds: What may follow a SIGTERM or SIGHUP; None: as long as it takes.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watch = partial(_watch, reading, stop, why_now, end, grace_seconds)
    watcher = threading.Thread(
        target=copy_context().run, args=(watch,), name="signals", daemon=True
    )
    watcher.start()
    try:
        with _handled(writing, once=end is None):
            yield stop
    finally:
        os.close(writing)
        watcher.join()
        os.close(reading)


@contextmanager
def _handled(pipe: int, *, once: bool) -> Iterator[None]:
    """Write the number of every signal that is not ignored into a pipe, or of the first alone."""
    heard = {each: signal.getsignal(each) for each in _SIGNALS}
    before = {each: handler for each, handler in heard.items() if handler != signal.SIG_IGN}

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        os.write(pipe, bytes([number]))
        if once:
            restore()

    for each in before:
        signal.signal(each, on_signal)
    try:
        yield
    finally:
        restore()


def _watch(
    reading: int,
    stop: threading.Event,
    why_now: Callable[[], str],
    end: _End | None,
    grace_seconds: float | None,
) -> None:
    """Take signals out of the pipe until it is closed."""
    number = _next(reading, None)
    if number is None:
        return
    if end is not None and (reason := why_now()):
        end(reason)
    stop.set()
    said = "Stopping; a second signal ends it at once"
    do_within(_LOGGING_SECONDS, lambda: _log.warning(said))
    deadline = None
    if grace_seconds is not None and number != signal.SIGINT:
        deadline = time.monotonic() + grace_seconds
    while end is not None:
        try:
            number = _next(reading, deadline)
        except TimeoutError:
            end(f"stopped, and not finished within {grace_seconds:.0f} s")
            return
        if number is None:
            return
        if number != signal.SIGHUP:  # a terminal that closes may send it twice
            end("stopped by a second signal before it had finished")


def _next(reading: int, deadline: float | None) -> int | None:
    """The number of the next signal, None when there will be no more.

    Raises:
        TimeoutError: There was none before the deadline on the monotonic clock.
    """
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    if not waiting.poll(None if left is None else left * 1000):
        raise TimeoutError
    return next(iter(os.read(reading, 1)), None)


def end_process(reason: str, *closing: Callable[[], object]) -> NoReturn:
    """End this process with the exit code 130, whatever its threads do, once all is closed.

    Children end with their parent. Nothing is unwound: what was durable stays so, as after a kill.
    """
    do_within(CLOSING_SECONDS, *closing, lambda: _log.warning("%s", reason))
    os._exit(STOPPED)


def do_within(seconds: float, *functions: Callable[[], object]) -> None:
    """Call all of them side by side, and wait so long at most: any may hang, or fail."""
    deadline = time.monotonic() + seconds
    threads = [
        threading.Thread(target=copy_context().run, args=(each,), daemon=True) for each in functions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
