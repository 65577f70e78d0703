"""Optuna as an engine: any sampler and pruner of it, over define-by-run spaces."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline_lib.families.spaces import SPACES, describe_space, space_function
from pipeline_lib.search.engine import Engine, Listener, SearchRequest
from pipeline_lib.search.fidelity import BASE_SAMPLES, REDUCTION, Ladder
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.home import Home

_START_SECONDS = 1.0  # until a first training
_SECONDS_PER_SAMPLE = 1.2e-4  # of a network of the default space, on one core, about


@dataclass(frozen=True)
class OptunaEngine(Engine):
    """Searches with an Optuna sampler and pruner; this project's workers train."""

    sampler: str = "tpe"
    pruner: str = "rungs"
    name, title = "optuna", "Optuna"
    spaces = tuple(SPACES)
    by_default = repeats = retrains = True

    @classmethod
    def of(cls, config: RunConfig, home: Home) -> Self:
        """See `Engine.of`."""
        return cls(config.sampler, config.pruner)

    @staticmethod
    def least_seconds(config: RunConfig, train_size: int) -> float:
        """What it takes to begin, and to climb the lowest rung."""
        return _START_SECONDS + (config.first_rung or BASE_SAMPLES) * _SECONDS_PER_SAMPLE

    @staticmethod
    def preload() -> None:
        """See `Engine.preload`."""
        import pipeline_lib.search.driver  # noqa: F401

    @staticmethod
    def counted_finals(config: RunConfig, train_size: int) -> tuple[int, ...]:
        """See `Engine.counted_finals`."""
        ladder = Ladder.of(config.space, config.budget_seconds, train_size, config.first_rung)
        return (REDUCTION * ladder.top,) if ladder.has_finals else ()

    def describe(self, space: str, budget_seconds: float) -> list[dict[str, Any]]:
        """See `Engine.describe`."""
        return describe_space(space, budget_seconds)

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Load torch into the server that workers are forked from."""
        from pipeline_lib.training.workers import warm_up

        warm_up()

    def check(self, request: SearchRequest) -> None:
        """See `Engine.check`."""
        from pipeline_lib.search.study import check_study

        check_study(request)

    def search(self, request: SearchRequest, listen: Listener, stop: threading.Event) -> None:
        """See `Engine.search`."""
        from pipeline_lib.search.driver import Search

        space_function(request.space)
        Search(request, self.sampler, self.pruner, listen, stop).run()

    def trials(self, study: str, directory: Path) -> list[Trial]:
        """See `Engine.trials`."""
        from pipeline_lib.search.study import read_trials

        return read_trials(directory, study)
