"""The leaderboard: computed from the trials whenever it is wanted, never a second truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.files import written_aside
from pipeline_lib.metrics import ACCURACY, Metric, metric_of
from pipeline_lib.trial import ENDED, Trial, TrialState, by_regret

if TYPE_CHECKING:
    import pandas as pd

NUMERIC = ("rank", "validation", "accuracy", "parameters", "seconds")
"""Columns of numbers in a leaderboard that is shown to people."""


def leaderboard(trials: Iterable[Trial]) -> pd.DataFrame:
    """Trials that ended, the best on validation first, one column a hyperparameter.

    Columns: rank (from 1), engine, family (of the network, where a run has several), trial, stage,
    state, metric (its name), value (of the metric on validation), val_accuracy in [0, 1], samples
    (fidelity reached), parameters, multiply_adds, seconds, reason, from (the trial of an earlier
    run whose configuration it is), then the configuration as `config.NAME`.
    """
    import pandas as pd

    ended = sorted((t for t in trials if t.state != TrialState.RUNNING), key=_order)
    several = len({trial.family for trial in ended if trial.family}) > 1
    rows = [
        {
            "rank": rank,
            "engine": trial.engine,
            **({"family": trial.family} if several else {}),
            "trial": trial.number,
            "stage": trial.stage,
            "state": str(trial.state),
            "metric": trial.metric.name,
            "value": trial.value,
            "val_accuracy": trial.accuracy,
            "samples": trial.rungs[-1].samples if trial.rungs else None,
            "parameters": trial.parameters,
            "multiply_adds": trial.multiply_adds,
            "seconds": round(trial.seconds, 2),
            "reason": trial.reason,
            "from": trial.notes.get("from", ""),
            **{f"config.{name}": value for name, value in trial.configuration.items()},
        }
        for rank, trial in enumerate(ended, start=1)
    ]
    whole = ("samples", "parameters", "multiply_adds")
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(whole, "Int64")) if rows else frame


def shown(frame: pd.DataFrame) -> list[dict[str, str]]:
    """Rows of a leaderboard as texts by column, for people.

    `validation` is the value of the metric; beside another than accuracy, `accuracy` is shown too.
    """
    known = frame.astype(object).where(frame.notna(), None)
    return [_shown(row) for row in known.to_dict("records")]


def texts(frame: pd.DataFrame) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """What `shown` gives, as the head and the rows of a table."""
    rows = shown(frame)
    return tuple(rows[0]) if rows else (), [(*row.values(),) for row in rows]


def phrase(row: Mapping[str, str]) -> str:
    """What `Trial.phrase` says, from a row of `leaderboard.csv`; older ones know accuracy alone."""
    return _metric(row).phrase(float(row.get("value", row["val_accuracy"])))


def _metric(row: Mapping[Any, Any]) -> Metric:
    return metric_of(str(row.get("metric", ACCURACY.name)))


def _shown(row: Mapping[Any, Any]) -> dict[str, str]:
    metric = _metric(row)
    accuracy = {"accuracy": _text(ACCURACY, row["val_accuracy"])} if metric != ACCURACY else {}
    return {
        "rank": str(row["rank"]),
        "trial": " ".join(filter(None, (row["engine"], f"#{row['trial']}", row.get("family")))),
        "stage": str(row["stage"]),
        "state": str(row["state"]),
        "validation": _text(metric, row["value"]),
        **accuracy,
        "parameters": "–" if row["parameters"] is None else f"{int(row['parameters']):,}",
        "seconds": f"{row['seconds']:.1f}",
    }


def _text(metric: Metric, value: float | None) -> str:
    return "–" if value is None else metric.text(value)


def best(trials: Iterable[Trial]) -> Trial | None:
    """The best trial on validation whose network is kept; None without any.

    Ties go to the smaller network, then to the earlier trial.
    """
    return next(iter(ranked(trials)), None)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The trials whose network is kept, the best first, in the order of `best`."""
    return sorted((t for t in trials if t.rungs and t.model is not None), key=_order)


def finalists(trials: Iterable[Trial]) -> list[Trial]:
    """The best trial of each engine, the ensemble among them."""
    found = list(trials)
    engines = dict.fromkeys(trial.engine for trial in found)
    tops = (best(trial for trial in found if trial.engine == engine) for engine in engines)
    return [trial for trial in tops if trial is not None]


def counts(trials: Iterable[Trial]) -> dict[str, int]:
    """Trials conducted, and how many of them ended in each way."""
    states = Counter(trial.state for trial in trials)
    return {"trials": sum(states.values()), **{str(state): states[state] for state in ENDED}}


def outcomes(tally: Mapping[str, int], separator: str = ", ") -> str:
    """Counts by state in words: `3 complete, 1 pruned, 0 stopped, 0 failed`."""
    return separator.join(f"{tally[state]} {state}" for state in ENDED)


def write_leaderboard(frame: pd.DataFrame, directory: Path) -> list[Path]:
    """Write `leaderboard.csv` and `leaderboard.parquet`; each appears whole or not at all."""
    written = []
    for suffix, write in (("csv", frame.to_csv), ("parquet", frame.to_parquet)):
        target = directory / f"leaderboard.{suffix}"
        with written_aside(target) as aside:
            write(aside, index=False)
        written.append(target)
    return written


def _order(trial: Trial) -> tuple[float, float, str, int]:
    return (by_regret(trial), trial.parameters or 0, trial.engine, trial.number)
