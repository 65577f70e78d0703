"""What an engine is: something that searches, and can say what it found so far."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.metrics import ACCURACY, Metric, find
from pipeline_lib.names import ENGINES, load
from pipeline_lib.options import choice
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.data.splits import Split
    from pipeline_lib.home import Home

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
    """A system that searches: it proposes configurations and has them trained.

    Every implementation derives from this and is held to `tests/search/contract.py`. Its module is
    imported whenever a configuration is checked, so its methods import what takes long to import.
    One that has no storage of its own keeps its trials in a `lines.Journal`.

    Attributes:
        name: Its key in `names.ENGINES`, used in the configuration, the leaderboard and MLflow.
        title: How sentences call it.
        spaces: The names of its search spaces.
        by_default: Whether `--engine all` searches with it.
        repeats: Whether a search of a fixed number of trials by one worker finds the same bits
            again from the same seed.
        retrains: Whether this project's workers can train its configurations again, each with the
            seed `trial_seed` gives it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    spaces: ClassVar[Sequence[str]]
    by_default: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    retrains: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def of(cls, config: RunConfig, home: Home) -> Self:
        """The engine, set up as the configuration says."""

    @staticmethod
    def least_seconds(config: RunConfig, train_size: int) -> float:
        """The budget, about, below which it finds no model of so many training examples."""
        return 0.0

    @staticmethod
    def preload() -> None:
        """Import what a search needs, while the user waits for something else."""

    @staticmethod
    def counted_finals(config: RunConfig, train_size: int) -> tuple[int, ...]:
        """Samples of each final after a search that ends by its count of trials, one worker."""
        return ()

    def availability(self) -> tuple[bool, str]:
        """Whether it can run on this machine, at once or after `prepare`; and a line about it."""
        return True, "can run"

    def describe(self, space: str, budget_seconds: float) -> list[dict[str, Any]]:
        """The hyperparameters of a search space: name, type, range, log, default, conditions.

        Raises:
            EngineUnavailable: It has to be prepared first.
        """
        return []

    def settable(self, space: str) -> Collection[str] | None:
        """The hyperparameters that `set` may name; None where only `prepare` makes them known.

        Raises:
            ConfigurationError: One of them is set to what it cannot be.
        """
        return ()

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
        from pipeline_lib.search.lines import Journal

        Journal(self.name, request.study, request.directory).check(request)

    @abstractmethod
    def search(self, request: SearchRequest, listen: Listener, stop: threading.Event) -> None:
        """Search until the trials or the seconds are spent, or `stop` is set.

        Returns with every trial ended and durable, and no process left behind. Trials left
        running by a killed predecessor are closed first and their configurations run once more.
        """

    def trials(self, study: str, directory: Path) -> list[Trial]:
        """Every trial of a study kept in a directory, by number: what tracking mirrors."""
        from pipeline_lib.search.lines import Journal

        return Journal(self.name, study, directory).trials()


def find_engine(name: str) -> type[Engine]:
    """The engine of a name.

    Raises:
        ConfigurationError: There is none of this name.
    """
    found: type[Engine] = load(ENGINES[choice("engine", name, ENGINES)])
    return found


def trial_seed(seed: int, number: int) -> int:
    """The seed of one trial, spread so that neighbours have nothing in common."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
