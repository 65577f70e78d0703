"""Part 3: seconds from a cold `automl run` to an honest test accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.cold_run import cold_run, served_run
from benchmarks.results import Bench, Result, Table

TARGETS = (0.9877, 0.99, 0.993, 0.995)
"""The first is what the chapter reports for its best model, chosen on the test set."""


@dataclass(frozen=True)
class Size:
    """Budgets in seconds, each with this many seeds; one of them also where Prefect is up."""

    budgets: tuple[float, ...]
    seeds: int
    served: float = 15.0


FULL = Size((8.0, 10.0, 12.0, 15.0, 60.0), seeds=3)
SHORT = Size((15.0, 60.0), seeds=1)


def measure(bench: Bench, size: Size) -> Result:
    """Every run reads the test set once, in a home of its own, after it chose its winner."""
    runs = [cold_run(bench.home, b, seed) for seed in range(size.seeds) for b in size.budgets]
    served = [served_run(bench.home, size.served, seed) for seed in range(size.seeds)]
    budgets = [_middle([run for run in runs if run["budget"] == b]) for b in size.budgets]
    reached = {
        str(target): next((b for b in budgets if b["test_accuracy"] >= target), None)
        for target in TARGETS
    }
    return {
        "runs": runs,
        "budgets": budgets,
        "served_runs": served,
        "served": _middle(served),
        "targets": reached,
    }


def _middle(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the seeds."""
    spans = {name: median(r["seconds"][name] for r in runs) for name in runs[0]["seconds"]}
    others = ("budget", "registered", "wall", "test_accuracy")
    return {**spans, **{name: median(run[name] for run in runs) for name in others}}


def table(result: Result) -> Table:
    """A row for each budget, then one for each accuracy asked for."""
    head = ["cold run", "test accuracy", "start-up s", "search and finals s", "finish s"]
    head += ["registered after s", "ended after s"]
    spans = ("startup", "search", "finish", "registered", "wall")

    def row(name: str, run: dict[str, float] | None) -> list[Any]:
        if run is None:
            return [name, "not reached", *("–" for _ in spans)]
        return [name, f"{run['test_accuracy']:.2%}", *(f"{run[span]:.1f}" for span in spans)]

    rows = [row(f"budget {run['budget']:g} s", run) for run in result["budgets"]]
    served = result["served"]
    rows.append(row(f"budget {served['budget']:g} s, a Prefect server up", served))
    return head, rows + [row(f"to {float(t):.2%}", run) for t, run in result["targets"].items()]
