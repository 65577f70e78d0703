"""What an engine is: something that searches, and can say what it found so far."""

from __future__ import annotations

import json
import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space, open_spaces
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


DIGEST = ", SHA-256 "
"""Stands between the name of a user's family and the digest of its file, in a study's identity."""


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
        families: Kinds of network that an engine with families searches; one study each.
        settings: By hyperparameter a fixed value, or a tuple that holds a range or choices.
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
    families: tuple[Family, ...] = (Family("convnet"),)
    settings: Mapping[str, Any] = field(default_factory=dict)
    warm_start: tuple[tuple[str, Path], ...] = ()

    @cached_property
    def metric(self) -> Metric:
        """What the best trial is best by; a user's file as it was when this was first asked."""
        return find(self.split.problem.metric)

    def open_spaces(self) -> AbstractContextManager[list[Space]]:
        """The search spaces of its families, as long as they may be asked.

        Raises:
            FamilyError: A user's file cannot be imported.
        """
        return open_spaces(self.families, self.split.problem, self.budget_seconds, self.settings)

    @property
    def identity(self) -> dict[str, Any]:
        """What every run of a study has in common."""
        return {
            "dataset": self.split.problem.name,
            "digest": self.split.problem.digest,
            "validation_share": self.split.share,
            "split_seed": self.split.seed,
            "space": self.space,
            "family": self._families,
            "set": json.loads(json.dumps(self.settings)) or None,  # as a study gives it back
            "seed": self.seed,
            "first_rung": self.first_rung,
            "metric": self.metric.identity,
        }

    @property
    def _families(self) -> list[str] | None:
        """The families, with the digests of users' files; None where the space says as much."""
        usual = "book" if self.space == "book" else "convnet"
        names = [each.name + (DIGEST + each.sha256 if each.file else "") for each in self.families]
        return None if names in ([], [usual]) else names


_BEFORE = {"first_rung": None, "metric": ACCURACY.name}
"""What studies have that were begun before there was a choice."""


def check_identity(request: SearchRequest, begun: Mapping[str, Any]) -> None:
    """Let a request continue a study that was begun with the same data and settings.

    Raises:
        ConfigurationError: Names the first field that differs.
    """
    for name, value in request.identity.items():
        theirs = begun.get(name, _BEFORE.get(name))
        if theirs != value:
            problem = f"the study {request.study!r} was begun with {theirs!r}"
            remedy = "choose another --name, or continue it as it was begun"
            raise ConfigurationError(name, problem, value=value, remedy=remedy)


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
        has_families: Whether it searches families of networks, a user's own among them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    spaces: ClassVar[Sequence[str]]
    by_default: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    retrains: ClassVar[bool] = False
    has_families: ClassVar[bool] = False

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
        """Samples that the final after a counted search of one worker may have; none: no final."""
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

    def check_code(self) -> None:
        """Try what a user's own files define, before anything is written.

        Raises:
            FamilyError: One is wrong; names its line and the cause.
        """

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
