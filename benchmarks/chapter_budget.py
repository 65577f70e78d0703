"""Part 4: the chapter's 2000 seconds, spent by `automl run`: its best single model and ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.cold_run import cold_home, cold_run_at
from benchmarks.results import Bench, Result, Table
from pipeline_lib.config import RunConfig
from pipeline_lib.home import Home


@dataclass(frozen=True)
class Size:
    """The budget in seconds, and the seed."""

    budget: float
    seed: int = 0


FULL = Size(2000.0)
SHORT = Size(60.0)


def measure(bench: Bench, size: Size) -> Result:
    """One cold run; then each engine's best and the best ensemble on the test set, as it is here.

    The run reads the test set once, for its winner. The others were chosen by validation accuracy
    alone, before that; they come after it in the ledger of a home that ends here.
    """
    with cold_home(bench.home) as cold:
        run = cold_run_at(cold, size.budget, size.seed)
        return {**run, "candidates": _candidates(cold, run["name"])}


def _candidates(home: Home, name: str) -> list[dict[str, Any]]:
    from pipeline_lib.data.source import prepare
    from pipeline_lib.evaluation.final_test import evaluate_once
    from pipeline_lib.evaluation.ledger import Entry
    from pipeline_lib.models.saved import load_model, model_digest
    from pipeline_lib.run.sync import Begun
    from pipeline_lib.selection.leaderboard import best

    source = prepare(RunConfig(dataset="mnist"), home, print)
    found = []
    for engine, trials in Begun.read(home, name).trials().items():
        trial = best(trials)
        if trial is None or trial.model is None:
            continue
        classes = source.problem.target.names
        digest = model_digest(trial.model)
        entry = Entry(home, source.test_set, trial.label, digest)
        test = evaluate_once(entry, load_model(trial.model), classes)
        found.append(
            {
                "engine": engine,
                "trial": trial.number,
                "val_accuracy": trial.accuracy,
                "test_accuracy": test.accuracy,
                "test_interval": list(test.interval),
                "parameters": trial.parameters,
                "notes": dict(trial.notes),
            }
        )
    return found


def table(result: Result) -> Table:
    """What the budget bought."""
    head = ["budget s", "trials", "best", "parameters", "validation", "test (95 % interval)"]
    rows = []
    for candidate in result["candidates"]:
        low, high = candidate["test_interval"]
        rows.append(
            [
                f"{result['budget']:g}",
                result["trials"],
                candidate["engine"],
                f"{candidate['parameters']:,}",
                f"{candidate['val_accuracy']:.2%}",
                f"{candidate['test_accuracy']:.2%} ({low:.2%} … {high:.2%})",
            ]
        )
    return head, rows
