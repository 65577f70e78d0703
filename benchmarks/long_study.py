"""A process that runs the flow until so many trials are done: `python -m benchmarks.long_study`.

A budget bounds both the seconds of a run and the size of its networks, so that no budget has room
for hundreds of trials. Here the engine is asked for a short run's study with a later deadline; all
else is `automl run`. The last line on stdout tells the peak memory of this process, and the
processor time that it and the servers it started took during the search.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cold_run import cold_home, run_json, wait_for_server
from pipeline_lib.home import Home
from pipeline_lib.run.run import Run
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.search.records import read_trials
from pipeline_lib.trial import Trial

_NAME = "long"
_DEADLINE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Study:
    """What a long study did, or a part of it, and took."""

    seconds: float  # from the first trial to the end of the search
    peak_mib: float  # of the process that owns the study
    seconds_beside: float  # of processor, during the search, by all but the workers
    trials: list[Trial]


@contextmanager
def long_study(
    home: Home, workers: int, budget_seconds: float, base_samples: int
) -> Iterator[Callable[[int], Study]]:
    """A study in a home of its own; each call conducts so many search trials more.

    Every call is a process, and nothing of it is left running when it returns.

    Args:
        home: Has the data.
        workers: Trials at a time.
        budget_seconds: That of the run whose networks and rungs these are.
        base_samples: Samples at the lowest rung.
    """
    command = [sys.executable, "-m", "benchmarks.long_study"]
    seen: set[int] = set()
    with cold_home(home) as cold:

        def conduct(trials: int) -> Study:
            numbers = (trials, workers, budget_seconds, base_samples)
            said, own = run_json([*command, *map(str, numbers)], cold)
            wait_for_server(cold)
            found = read_trials(cold.study(_NAME) / "optuna", _NAME)
            new = [trial for trial in found if trial.number not in seen]
            seen.update(trial.number for trial in new)
            return Study(said["seconds"]["search"], trials=new, **own)

        yield conduct


def peak_memory() -> float:
    """The most memory this process has had since it started, MiB; on Linux."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(li.split()[1]) for li in status.splitlines() if li.startswith("VmHWM")) / 2**10


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the flow, with JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trials", type=int)
    parser.add_argument("workers", type=int)
    parser.add_argument("budget_seconds", type=float)
    parser.add_argument("base_samples", type=int)
    parser.add_argument("--home", required=True)
    given = parser.parse_args(arguments)
    os.environ["AUTOML_HOME"] = given.home
    _lengthen_studies(given.budget_seconds)
    beside = _watch_searches()
    from flows.running import run_here

    parameters = {"engine": "optuna", "trials": given.trials, "workers": given.workers}
    parameters |= {"budget": "24h", "name": _NAME, "first_rung": given.base_samples}
    run_here("mnist", parameters, as_json=True)
    print(json.dumps({"peak_mib": peak_memory(), "seconds_beside": sum(beside)}))


def _watch_searches() -> list[float]:
    """Gets the processor seconds of each search to come, without those of the workers.

    They are children of a child: what stands directly below this process is Prefect's server, and
    the server that forks workers.
    """
    spent: list[float] = []
    original = OptunaEngine.search

    def search(*arguments: Any) -> None:
        before = _processor_seconds()
        original(*arguments)
        spent.append(_processor_seconds() - before)

    OptunaEngine.search = search
    return spent


def _processor_seconds() -> float:
    own = psutil.Process()
    return sum(p.cpu_times().user + p.cpu_times().system for p in (own, *own.children()))


def _lengthen_studies(budget_seconds: float) -> None:
    """Have runs ask for the study of a shorter run, with a deadline that never comes."""
    original = Run.request

    def request(*arguments: object, **named: object) -> SearchRequest:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        asked = original(*arguments, **named)
        return replace(asked, budget_seconds=budget_seconds, deadline=deadline)

    Run.request = request


if __name__ == "__main__":
    main()
