"""Child processes that end with this one, however it ends."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.isolation import isolated
from pipeline_lib.run.stopping import CLOSING_SECONDS, GRACE_SECONDS

_PATIENCE_SECONDS = GRACE_SECONDS + CLOSING_SECONDS + 5.0  # of a run that a worker has
_MARK = "AUTOML_STARTED_BY"


@dataclass(frozen=True)
class Program:
    """What to run: its name for people, where it writes, its environment and directory."""

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True)
class Child:
    """A running program, since `begin` on the monotonic clock."""

    program: Program
    process: subprocess.Popen[bytes]
    begin: float


class Children:
    """Starts programs, and ends them in the reverse order.

    A helper process reads their numbers from a pipe; when the pipe breaks, because this process
    was killed, the helper ends them. What a killed program leaves behind, in whatever session, is
    found by a mark in its environment.
    """

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._mark = uuid.uuid4().hex
        self._heir = subprocess.Popen(
            [sys.executable, "-m", "flows.subprocesses", self._mark],
            stdin=subprocess.PIPE,
            env=isolated(),
            start_new_session=True,
        )

    def start(self, program: Program) -> None:
        """Start a program that ignores this terminal."""
        program.log.parent.mkdir(parents=True, exist_ok=True)
        program.log.write_bytes(b"")
        self._children.append(self._begin(program))

    def start_again(self, child: Child) -> None:
        """Start, in its place, a program that ended; its log goes on."""
        self._children[self._children.index(child)] = self._begin(child.program)

    def _begin(self, program: Program) -> Child:
        with program.log.open("ab") as output:
            process = subprocess.Popen(
                program.command,
                env={**program.env, _MARK: self._mark},
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert self._heir.stdin is not None
        self._heir.stdin.write(f"{process.pid}\n".encode())
        self._heir.stdin.flush()
        return Child(program, process, time.monotonic())

    def ended(self) -> Child | None:
        """A program that ended by itself."""
        return next((child for child in self._children if child.process.poll() is not None), None)

    def end_below(self, name: str) -> None:
        """End what a program has started, while it is there to hear how that ended."""
        import psutil

        for child in self._children:
            if child.program.name == name:
                with suppress(psutil.NoSuchProcess):
                    for process in psutil.Process(child.process.pid).children():
                        end(process.pid)

    def stop(self, keep: int = 0) -> None:
        """End all but the first `keep`, the last one first, and what they started; wait for it."""
        while len(self._children) > keep:
            process = self._children.pop().process
            if process.poll() is None:
                end(process.pid)
            process.wait()
        end_marked(self._mark, [child.process.pid for child in self._children])

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


def end_marked(mark: str, but: Collection[int] = ()) -> None:
    """End what descends from marked programs, but not the programs `but` themselves."""
    import psutil

    for process in psutil.process_iter(["environ"]):  # None where the process is another's
        is_marked = (process.info["environ"] or {}).get(_MARK) == mark
        if is_marked and process.pid not in but:
            end(process.pid)


def _kill(process: Any) -> None:
    import psutil

    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    for number in reversed(sys.stdin.read().split()):
        end(int(number))
    end_marked(sys.argv[1])
