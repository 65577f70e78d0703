"""Part 10: what random configurations of the default space reach in a given time on one core."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.replay import random_configurations, replay, spread
from benchmarks.results import Bench, Result, Table
from pipeline_lib.cores import available_cores

_ENDLESS = 10**8  # samples: the clock ends every training


@dataclass(frozen=True)
class Size:
    """How many configurations, and the seconds that each is trained for."""

    configurations: int
    seconds: float


FULL = Size(configurations=20, seconds=25.0)
SHORT = Size(configurations=4, seconds=5.0)


def measure(bench: Bench, size: Size) -> Result:
    """Nothing is chosen: this is what a search begins with."""
    drawn = random_configurations(size.configurations, seed=1)
    climbs = [replace(climb, samples=(_ENDLESS,), seconds=size.seconds) for climb in drawn]
    rungs = replay(bench.split, climbs, available_cores()).rungs
    reached = [rung.value for rung in rungs]
    return {"accuracies": reached, "validation": spread(reached)}


def table(result: Result) -> Table:
    """The worst, the middle and the best."""
    head = ["random configurations", "worst", "median", "best"]
    cells = [f"{result['validation'][name]:.2%}" for name in ("min", "median", "max")]
    return head, [[len(result["accuracies"]), *cells]]
