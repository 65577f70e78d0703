"""The leaderboard: computed from the trials whenever it is wanted, never a second truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.files import written_aside
from pipeline_lib.trial import ENDED, Trial, TrialState

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("rank", "trial", "stage", "state", "validation", "parameters", "seconds")
"""Columns of a leaderboard that is shown to people."""


def leaderboard(trials: Iterable[Trial]) -> pd.DataFrame:
    """Trials that ended, best validation accuracy first, one column a hyperparameter.

    Columns: rank (from 1), engine, trial, stage, state, val_accuracy in [0, 1], samples (fidelity
    reached), parameters, multiply_adds, seconds, reason, from (the trial of an earlier run whose
    configuration it is), then the configuration as `config.NAME`.
    """
    import pandas as pd

    ended = sorted((t for t in trials if t.state != TrialState.RUNNING), key=_order)
    rows = [
        {
            "rank": rank,
            "engine": trial.engine,
            "trial": trial.number,
            "stage": trial.stage,
            "state": str(trial.state),
            "val_accuracy": trial.val_accuracy,
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
    """Rows of a leaderboard as texts by the names of `SHOWN`, for people."""
    known = frame.astype(object).where(frame.notna(), None)
    texts = (
        (
            str(row["rank"]),
            f"{row['engine']} #{row['trial']}",
            str(row["stage"]),
            str(row["state"]),
            "–" if row["val_accuracy"] is None else f"{row['val_accuracy']:.2%}",
            "–" if row["parameters"] is None else f"{int(row['parameters']):,}",
            f"{row['seconds']:.1f}",
        )
        for row in known.to_dict("records")
    )
    return [dict(zip(SHOWN, text, strict=True)) for text in texts]


def best(trials: Iterable[Trial]) -> Trial | None:
    """The trial with the best validation accuracy whose network is kept; None without any.

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
    return (-(trial.val_accuracy or 0.0), trial.parameters or 0, trial.engine, trial.number)
