"""Part 7: ways to search the default space: best validation accuracy against seconds."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.replay import spread
from benchmarks.results import Bench, Result, Table
from pipeline_lib.cores import available_cores
from pipeline_lib.families import convnet
from pipeline_lib.search import driver as optuna_engine
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.search.fidelity import REDUCTION, Ladder
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.trial import Trial

_GRID = 40  # points of a curve


@dataclass(frozen=True)
class Strategy:
    """A sampler, whether trials climb rungs or go straight to the top, and what comes first."""

    name: str
    sampler: str
    has_rungs: bool
    has_priors: bool = False


STRATEGIES = (
    Strategy("random at full fidelity", "random", has_rungs=False),
    Strategy("TPE without rungs", "tpe", has_rungs=False),
    Strategy("TPE with rungs", "tpe", has_rungs=True),
    Strategy("CMA-ES with rungs", "cmaes", has_rungs=True),
    Strategy("TPE with rungs and priors (as shipped)", "tpe", has_rungs=True, has_priors=True),
)


@dataclass(frozen=True)
class Size:
    """Seeds, seconds for each search, and samples at the lowest of three rungs."""

    seeds: int
    seconds: float
    base_samples: int = convnet.FIRST_RUNG


FULL = Size(seeds=3, seconds=60.0)
SHORT = Size(seeds=1, seconds=15.0, base_samples=2000)


def measure(bench: Bench, size: Size) -> Result:
    """Every strategy with the first seed, then with the next. All of the seconds go to search."""
    OptunaEngine().prepare(lambda line: None)
    searches: dict[str, list[dict[str, Any]]] = {strategy.name: [] for strategy in STRATEGIES}
    for seed in range(size.seeds):
        for strategy in STRATEGIES:
            searches[strategy.name].append(_search(bench, strategy, size, seed))
    grid = np.linspace(0, size.seconds, _GRID + 1)[1:].tolist()
    bands = {name: [_band(runs, seconds) for seconds in grid] for name, runs in searches.items()}
    return {"workers": available_cores(), "grid": grid, "bands": bands, "searches": searches}


def _search(bench: Bench, strategy: Strategy, size: Size, seed: int) -> dict[str, Any]:
    curve: list[list[float]] = []  # seconds, best validation accuracy so far
    began = time.monotonic()

    def listen(trial: Trial) -> None:
        best = max(trial.value or 0.0, curve[-1][1] if curve else 0.0)
        curve.append([time.monotonic() - began, best])

    with tempfile.TemporaryDirectory() as directory, _as(strategy, size):
        request = SearchRequest(
            study="search",
            split=bench.split,
            space="default",
            deadline=began + size.seconds,
            budget_seconds=size.seconds,
            trials=None,
            workers=available_cores(),
            seed=seed,
            directory=Path(directory),
        )
        engine = OptunaEngine(strategy.sampler)
        engine.search(request, listen, threading.Event())
        states = [trial.state.value for trial in engine.trials(request.study, request.directory)]
    return {"seed": seed, "trials": len(states), "states": states, "curve": curve}


@contextmanager
def _as(strategy: Strategy, size: Size) -> Iterator[None]:
    """Have the engine search in one of these ways, without finals."""
    rungs = tuple(size.base_samples * REDUCTION**step for step in range(3))
    ladder = Ladder(rungs if strategy.has_rungs else rungs[-1:], REDUCTION, has_finals=False)
    known = convnet.priors if strategy.has_priors else lambda *_: []
    with (
        mock.patch.object(optuna_engine, "ladder_of", lambda _part: ladder),
        mock.patch.object(convnet, "priors", known),
    ):
        yield


def _band(runs: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Best accuracies so far over the seeds; 0 where no rung has ended yet."""
    return spread(
        [max([b for at, b in run["curve"] if at <= seconds], default=0.0) for run in runs]
    )


def table(result: Result) -> Table:
    """A row for each strategy, at a quarter, half and all of the seconds."""
    picked = [len(result["grid"]) * quarter // 4 - 1 for quarter in (1, 2, 4)]
    head = ["strategy", "trials", *(f"at {result['grid'][i]:.0f} s" for i in picked)]
    rows = []
    for name, band in result["bands"].items():
        trials = spread([run["trials"] for run in result["searches"][name]])["median"]
        cells = ["{median:.2%} ({min:.2%} … {max:.2%})".format(**band[i]) for i in picked]
        rows.append([name, f"{trials:.0f}", *cells])
    return head, rows
