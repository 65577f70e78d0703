"""The program that runs in Auto-PyTorch's environment: one JSON job in, JSON lines out.

    python -m pipeline_lib.search.autopytorch.worker

The job is the first line of standard input. The rest of standard input stays open for as long as
the worker is wanted: when it ends, so does the worker, at once, with everything that it started.

Every job names a "temporary" directory, which it removes at its end; its path must be short, for
sockets are made in it.

`{"task": "describe", "shape", "classes", "include", "updates"}` prints the search space.

`{"task": "search", …}` has "problem" and "source", as their `as_json` gave them, the "home" that
these are of, in "directory" the row numbers `train.npy` and `validation.npy`, and the fields of
`Job`; it prints

    {"event": "ready"}                           the first evaluation is about to start
    {"event": "started", "number", "configuration_id", "configuration", "epochs", "time"}
    {"event": "evaluation", …, "state", "reason", "status", "seconds", "scores", "regret", "curve",
     "samples", "parameters", "model"}           complete, stopped or failed
    {"event": "incumbent", "number", "regret"}
    {"event": "finished", "evaluations", "complete", "reason"}

Nothing else comes on standard output; logs go to standard error.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from pipeline_lib.data.source import Source

_EVALUATION = "pipeline_lib.search.autopytorch.evaluation"


class Lines:
    """Standard output, kept for JSON lines from any thread; counts what it tells of."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)  # whatever else prints goes to the log
        self._lock = threading.Lock()
        self._best = math.inf
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def emit(self, line: Mapping[str, Any]) -> None:
        """Print one event, and the new incumbent when it is one."""
        with self._lock:
            self._print(line)
            if line.get("event") != "evaluation":
                return
            self.states[line["state"]] += 1
            if line["state"] == "failed":
                self.reasons[line["reason"]] += 1
            elif line["state"] == "complete" and line["regret"] < self._best:
                self._best = line["regret"]
                chosen = {name: line[name] for name in ("number", "regret")}
                self._print({"event": "incumbent", **chosen})

    def _print(self, line: Mapping[str, Any]) -> None:
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def main() -> None:
    """Do the job on standard input."""
    job = json.loads(sys.stdin.readline())
    tempfile.tempdir = job["temporary"]
    threading.Thread(target=_end_with_input, daemon=True).start()
    lines = Lines()
    code = 1
    try:
        if job["task"] == "describe":
            _describe(job, lines)
        else:
            _search(job, lines)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        _end(code)


def _describe(job: Mapping[str, Any], lines: Lines) -> None:
    from pipeline_lib.search.autopytorch import compat

    compat.prepare()
    from pipeline_lib.search.autopytorch import components, configspace

    components.install()
    shape = tuple(job["shape"])
    lines.emit(configspace.describe(shape, job["classes"], job["include"], job["updates"]))


def _search(job: Mapping[str, Any], lines: Lines) -> None:
    # Evaluations are forked from a process that has everything loaded; it loads while we do.
    multiprocessing.set_forkserver_preload([_EVALUATION])
    forkserver.ensure_running()
    from pipeline_lib.search.autopytorch import evaluation  # noqa: F401  before Auto-PyTorch
    from pipeline_lib.search.autopytorch.job import Job
    from pipeline_lib.search.autopytorch.search import search

    names = Job.__dataclass_fields__.keys() & job.keys()
    opened = {"directory": Path(job["directory"]), "source": _source(job)}
    lines.emit({"event": "ready"})
    search(Job(**{name: job[name] for name in names} | opened), lines.emit)
    lines.emit(_finished(lines))


def _source(job: Mapping[str, Any]) -> Source:
    from pipeline_lib.data.problem import Problem
    from pipeline_lib.data.source import reopen
    from pipeline_lib.home import Home

    return reopen(Problem.from_json(job["problem"]), job["source"], Home(Path(job["home"])))


def _finished(lines: Lines) -> dict[str, Any]:
    """The last line; says why when there is no model at all."""
    reason = ""
    if not lines.states["complete"]:
        reason = "the time was over before an evaluation ended"
        if lines.reasons:
            (most, times), *_ = lines.reasons.most_common()
            reason = f"{times} of {lines.states.total()} evaluations left no model: {most}"
    return {
        "event": "finished",
        "evaluations": lines.states.total(),
        "complete": lines.states["complete"],
        "reason": reason,
    }


def _end_with_input() -> None:
    """Wait for the end of standard input, which is the end of who wanted this work."""
    while os.read(0, 4096):
        pass
    _end(1)


def _end(code: int) -> None:
    """End all that was started, then this process; Auto-PyTorch can hang at a plain exit."""
    shutil.rmtree(str(tempfile.tempdir), ignore_errors=True)
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
