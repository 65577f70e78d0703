"""What an engine is: something that searches, and can say what it found so far."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.metrics import ACCURACY, Metric, find
from pipeline_lib.trial import Trial

Listener = Callable[[Trial], None]
"""Called with a snapshot of a trial when it starts, at each rung, and when it ends.

A snapshot that ended is already durable in the engine's storage.
"""


@dataclass(frozen=True)
class SearchRequest:
    """One study: what to search on, and what it may spend.

    Attributes:
        study: Name of the study; with the same name and directory it is continued.
        split: Training and validation data.
        space: Name of a search space, one of the engine's `spaces`.
        deadline: `time.monotonic()` after which no rung may start.
        budget_seconds: The whole budget, from which fidelities are chosen. Seconds, > 0.
        trials: Search trials to conduct at most; None leaves the clock as the only limit.
        workers: Trials that may run at the same time, ≥ 1; each uses one thread.
        seed: Reaches sampler, initialisation, shuffling and augmentation.
        directory: The engine's storage and the files of its trials.
        trial_seconds: What one rung may take before its process is killed. Seconds, > 0.
        trial_memory: What a trial may allocate beyond what its process starts with. MiB, > 0.
        first_rung: Training samples at the lowest rung of an engine that has rungs; None leaves it
            to the engine.
        warm_start: Name and directory of this engine's earlier studies, whose best configurations
            are tried first.
    """

    study: str
    split: Split
    space: str
    deadline: float
    budget_seconds: float
    trials: int | None
    workers: int
    seed: int
    directory: Path
    trial_seconds: float = 3600.0
    trial_memory: int = 2048
    first_rung: int | None = None
    warm_start: tuple[tuple[str, Path], ...] = ()

    @cached_property
    def metric(self) -> Metric:
        """What the best trial is best by; a user's file as it was when this was first asked."""
        return find(self.split.problem.metric)

    @property
    def identity(self) -> dict[str, Any]:
        """What every run of a study has in common."""
        return {
            "dataset": self.split.problem.name,
            "digest": self.split.problem.digest,
            "validation_share": self.split.share,
            "split_seed": self.split.seed,
            "space": self.space,
            "seed": self.seed,
            "first_rung": self.first_rung,
            "metric": self.metric.identity,
        }


_BEFORE = {"first_rung": None, "metric": ACCURACY.name}
"""What studies have that were begun before there was a choice."""


def check_identity(request: SearchRequest, begun: Mapping[str, Any]) -> None:
    """Let a request continue a study that was begun with the same data and settings.

    Raises:
        ConfigurationError: Names the first field that differs.
    """
    for field, value in request.identity.items():
        theirs = begun.get(field, _BEFORE.get(field))
        if theirs != value:
            problem = f"the study {request.study!r} was begun with {theirs!r}"
            remedy = "choose another --name, or continue it as it was begun"
            raise ConfigurationError(field, problem, value=value, remedy=remedy)


class Engine(Protocol):
    """A way to search. `tests/search/contract.py` holds every implementation to this."""

    @property
    def name(self) -> str:
        """The engine's name in the configuration, the leaderboard and MLflow."""

    @property
    def spaces(self) -> Sequence[str]:
        """The search spaces that it knows."""

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Make it able to run; quick when it already is.

        Raises:
            EngineUnavailable: It cannot run on this machine; says what is missing.
        """

    def check(self, request: SearchRequest) -> None:
        """Whether the study of a request may be searched; writes nothing.

        Raises:
            ConfigurationError: It was begun with other data or settings.
        """

    def search(self, request: SearchRequest, listen: Listener, stop: threading.Event) -> None:
        """Search until the trials or the seconds are spent, or `stop` is set.

        Returns with every trial ended and durable, and no process left behind. Trials left
        running by a killed predecessor are closed first and their configurations run once more.
        """

    def trials(self, study: str, directory: Path) -> list[Trial]:
        """Every trial of a study kept in a directory, by number: what tracking mirrors."""
