"""Part 4: the chapter's 2000 seconds, spent by `automl run`."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cold_run import cold_run
from benchmarks.results import Bench, Result, Table


@dataclass(frozen=True)
class Size:
    """The budget in seconds, and the seed."""

    budget: float
    seed: int = 0


FULL = Size(2000.0)
SHORT = Size(60.0)


def measure(bench: Bench, size: Size) -> Result:
    """One cold run; its winner is the best single model."""
    return cold_run(bench.home, size.budget, size.seed)


def table(result: Result) -> Table:
    """What the budget bought."""
    low, high = result["test_interval"]
    return ["budget s", "trials", "validation", "test (95 % interval)", "wall s"], [
        [
            f"{result['budget']:g}",
            result["trials"],
            f"{result['val_accuracy']:.2%}",
            f"{result['test_accuracy']:.2%} ({low:.2%} … {high:.2%})",
            f"{result['wall']:.0f}",
        ]
    ]
