"""The worker process as seen from here: start it, read its lines, and leave nothing of it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline_lib.isolation import isolated, short_folder

_MODULE = "pipeline_lib.search.autopytorch.worker"
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerProcess:
    """A worker with its own process group, which dies with this object or this process.

    Standard input stays open as long as the worker is wanted; it ends when we do, and the worker
    takes that as its own end.
    """

    def __init__(self, python: Path, job: Mapping[str, Any], log: Path) -> None:
        self._log = log
        self._temporary = tempfile.mkdtemp(prefix="automl-", dir=short_folder())
        told = {**job, "temporary": self._temporary}
        with log.open("w", encoding="utf-8") as stderr:
            self._process = subprocess.Popen(
                [str(python), "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**isolated(), **dict.fromkeys(_ONE_THREAD, "1")},
                cwd=log.parent,
                start_new_session=True,
            )
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        with contextlib.suppress(BrokenPipeError):  # it died; reading tells
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.kill()

    def read(self, seconds: float) -> list[dict[str, Any]] | None:
        """The whole lines that arrived within so many seconds; None once there will be no more."""
        if not self._selector.select(seconds):
            return []
        assert self._process.stdout is not None
        chunk = os.read(self._process.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def kill(self) -> int:
        """End the worker and all its processes; returns its exit code, negative for a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return code

    def wait(self) -> int:
        """The exit code, once its output has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        return self.kill()

    def last_words(self) -> str:
        """The last line of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else ""
