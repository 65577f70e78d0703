"""Child processes that end with this one, however it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Child:
    """A running program: its name for people, and where it writes."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]


class Children:
    """Starts programs, and ends them in the reverse order.

    A helper process reads their numbers from a pipe; when the pipe breaks, because this process
    was killed, the helper ends them.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._heir = subprocess.Popen(
            [sys.executable, "-m", "flows.children"], stdin=subprocess.PIPE, start_new_session=True
        )

    def start(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path
    ) -> Child:
        """Start a program that ignores this terminal and writes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name, log, process)
        self._children.append(child)
        assert self._heir.stdin is not None
        self._heir.stdin.write(f"{process.pid}\n".encode())
        self._heir.stdin.flush()
        return child

    def ended(self) -> Child | None:
        """A program that ended by itself."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def stop(self, keep: int = 0) -> None:
        """End all but the first `keep`, the last one first, and what they started; wait for it."""
        while len(self._children) > keep:
            process = self._children.pop().process
            if process.poll() is None:
                end(process.pid)
            process.wait()

    def close(self) -> None:
        """End them all; start no more."""
        self.stop()
        self._heir.kill()
        self._heir.communicate()


def end(pid: int) -> None:
    """End a process gracefully, by force when it takes too long, and whatever it leaves behind."""
    import psutil

    try:
        process = psutil.Process(pid)
        descendants = process.children(recursive=True)
        process.terminate()
    except psutil.NoSuchProcess:
        return
    _, remaining = psutil.wait_procs([process, *descendants], timeout=_PATIENCE_SECONDS)
    for survivor in remaining:
        _kill(survivor)


def _kill(process: Any) -> None:
    import psutil

    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    for number in reversed(sys.stdin.read().split()):
        end(int(number))
