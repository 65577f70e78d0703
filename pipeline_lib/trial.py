"""The values that travel between engines, tracking and the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

ENSEMBLE = "ensemble"
"""The engine of trials that are several models of their run together."""

TITLES = {"optuna": "Optuna", "autopytorch": "Auto-PyTorch", ENSEMBLE: "Ensemble"}

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
    """One point of an accuracy curve inside a rung."""

    samples: int  # seen since the rung began
    train_loss: float
    val_accuracy: float  # in [0, 1]


@dataclass(frozen=True)
class Rung:
    """One complete training at one fidelity, with its own schedule."""

    samples: int  # the fidelity: training samples seen
    val_accuracy: float  # in [0, 1]
    seconds: float
    curve: tuple[Epoch, ...] = ()


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
    notes: Mapping[str, str] = field(default_factory=dict)  # what else its engine says of it

    @property
    def val_accuracy(self) -> float | None:
        """Validation accuracy at the highest rung reached, in [0, 1]."""
        return self.rungs[-1].val_accuracy if self.rungs else None

    @property
    def label(self) -> str:
        """How people refer to it: `optuna-0041`."""
        return f"{self.engine}-{self.number:04d}"

    @property
    def title(self) -> str:
        """How sentences call it: `Optuna #41`, or `Ensemble` for a run's first."""
        name = TITLES.get(self.engine, self.engine)
        return name if self.engine == ENSEMBLE and not self.number else f"{name} #{self.number}"
