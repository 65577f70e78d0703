"""The values that travel between engines, tracking and the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any

from pipeline_lib.metrics import ACCURACY, Metric
from pipeline_lib.names import ENGINES, load

ENSEMBLE = "ensemble"
"""The engine of trials that are several models of their run together."""

Configuration = Mapping[str, int | float | str | bool | None]
"""Hyperparameters by name: what an engine proposes and a training takes."""


def number(value: object) -> float:
    """A hyperparameter that is one."""
    assert isinstance(value, int | float)
    return float(value)


RUN_STOPPED = "the run was stopped"
NO_TIME_LEFT = "no search time left for the next rung"
TIME_OVER = "the search time was over"
OVERDUE = "its search process did not end in time and was killed"
"""Reasons of trials that time or a person ended: they are `STOPPED`."""


class TrialState(StrEnum):
    """How a trial stands; `COMPLETE` ones climbed every rung.

    `PRUNED` ones did worse than others at a rung. `STOPPED` ones had no time left, which says
    nothing of how good they are.
    """

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    STOPPED = "stopped"
    FAILED = "failed"

    @classmethod
    def recorded(cls, state: str, reason: str) -> TrialState:
        """The state that a record means: older ones call stopped trials pruned or failed."""
        out_of_time = reason in (RUN_STOPPED, NO_TIME_LEFT, TIME_OVER, OVERDUE)
        return cls.STOPPED if out_of_time else cls(state)


ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.STOPPED, TrialState.FAILED)
"""How a trial may end, in the order in which counts are told."""


@dataclass(frozen=True)
class Epoch:
    """One point of a learning curve inside a rung."""

    samples: int  # seen since the rung began
    train_loss: float
    value: float  # of the metric, on validation


@dataclass(frozen=True)
class Rung:
    """One complete training at one fidelity, with its own schedule."""

    samples: int  # the fidelity: training samples seen
    value: float  # of the metric, on validation
    seconds: float
    curve: tuple[Epoch, ...]
    regret: float  # of the value, >= 0 and smaller is better: what orders trials of any metric
    scores: Mapping[str, float]  # on validation by name: the metric's, and accuracy always

    @classmethod
    def of(
        cls,
        metric: Metric,
        samples: int,
        scores: Mapping[str, float],
        seconds: float,
        curve: tuple[Epoch, ...] = (),
    ) -> Rung:
        """The rung that reached these scores."""
        value = scores[metric.name]
        return cls(samples, value, seconds, curve, metric.regret(value), dict(scores))

    @classmethod
    def thaw(cls, fields: Mapping[str, Any]) -> Rung:
        """The rung of a record; older ones know accuracies alone."""
        if "val_accuracy" not in fields:
            return cls(**{**fields, "curve": tuple(Epoch(**each) for each in fields["curve"])})
        curve = tuple(
            Epoch(each["samples"], each["train_loss"], each["val_accuracy"])
            for each in fields["curve"]
        )
        scores = {ACCURACY.name: fields["val_accuracy"]}
        return cls.of(ACCURACY, fields["samples"], scores, fields["seconds"], curve)


@dataclass(frozen=True)
class Trial:
    """One configuration and what became of it. `(study, engine, number)` is its key."""

    study: str
    engine: str
    number: int
    state: TrialState
    configuration: Configuration
    rungs: tuple[Rung, ...] = ()
    parameters: int | None = None
    multiply_adds: int | None = None  # for one image
    started: float = 0.0  # seconds since the epoch
    seconds: float = 0.0  # from ask to tell
    stage: str = "search"  # or "final": trained longer, or an ensemble
    reason: str = ""  # why it is not complete
    model: Path | None = None  # directory holding architecture.json and weights.safetensors
    family: str = ""  # of networks; empty for engines without families
    notes: Mapping[str, str] = field(default_factory=dict)  # what else its engine says of it
    metric: Metric = ACCURACY  # of its values; kept with it, whatever becomes of a user's file

    @property
    def value(self) -> float | None:
        """Of the metric, on validation at the highest rung reached; None without one."""
        return self.rungs[-1].value if self.rungs else None

    @property
    def regret(self) -> float | None:
        """How far the value is from perfect: what rules compare. None without a value."""
        return self.rungs[-1].regret if self.rungs else None

    @property
    def scores(self) -> Mapping[str, float]:
        """By name, accuracy among them, at the highest rung reached; empty without one."""
        return self.rungs[-1].scores if self.rungs else {}

    @property
    def text(self) -> str:
        """The value for people; a dash without one."""
        return "–" if self.value is None else self.metric.text(self.value)

    @property
    def phrase(self) -> str:
        """The value where nothing else says of which metric; a dash without one."""
        return "–" if self.value is None else self.metric.phrase(self.value)

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy at the highest rung reached, in [0, 1], whatever the metric."""
        return self.scores.get(ACCURACY.name)

    @property
    def label(self) -> str:
        """How people refer to it: `optuna-0041`."""
        return f"{self.engine}-{self.number:04d}"

    @property
    def title(self) -> str:
        """How sentences call it: `Optuna #41`, or `Ensemble` for a run's first."""
        if self.engine == ENSEMBLE:
            return f"Ensemble #{self.number}" if self.number else "Ensemble"
        name = load(ENGINES[self.engine]).title if self.engine in ENGINES else self.engine
        return f"{name} #{self.number}"


def by_regret(trial: Trial) -> float:
    """Sorts the best first, and those without a value last."""
    return inf if trial.regret is None else trial.regret


def thaw(record: Mapping[str, Any], **known: Any) -> Trial:
    """The trial of a record, also of an older one; `known` is what its storage knows beside it."""
    fields = {**record, **known}
    return Trial(
        **{
            **fields,
            "rungs": tuple(map(Rung.thaw, fields.get("rungs", ()))),
            "state": TrialState.recorded(fields["state"], fields.get("reason", "")),
            "metric": Metric(**fields["metric"]) if "metric" in fields else ACCURACY,
        }
    )
