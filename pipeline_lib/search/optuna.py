"""Optuna as an engine: any sampler and pruner of it, over families of networks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline_lib.data import source
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space, open_spaces
from pipeline_lib.names import FAMILIES
from pipeline_lib.options import choice
from pipeline_lib.search.engine import Engine, Listener, SearchRequest
from pipeline_lib.search.fidelity import REDUCTION, SECONDS_PER_SAMPLE, Ladder
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.home import Home

_LEAST_SAMPLES = 10_000  # that say something of a network
_START_SECONDS = 1.0  # until a first training


@dataclass(frozen=True)
class OptunaEngine(Engine):
    """Searches with an Optuna sampler and pruner; this project's workers train."""

    sampler: str = "tpe"
    pruner: str = "rungs"
    config: RunConfig | None = None  # whose families are described and checked; None: the usual
    home: Home | None = None
    name, title = "optuna", "Optuna"
    spaces = ("default", "book")
    by_default = repeats = retrains = has_families = True

    @classmethod
    def of(cls, config: RunConfig, home: Home) -> Self:
        """See `Engine.of`."""
        return cls(config.sampler, config.pruner, config, home)

    @staticmethod
    def least_seconds(config: RunConfig, train_size: int) -> float:
        """What it takes to begin, and to train one network a little."""
        samples = config.first_rung or min(_LEAST_SAMPLES, train_size)
        return _START_SECONDS + samples * SECONDS_PER_SAMPLE

    @staticmethod
    def preload() -> None:
        """See `Engine.preload`."""
        import pipeline_lib.search.driver  # noqa: F401

    @staticmethod
    def counted_finals(config: RunConfig, train_size: int) -> tuple[int, ...]:
        """See `Engine.counted_finals`; files are taken to have no rungs of their own."""
        known = [Family(name) if name in FAMILIES else None for name in config.families]
        ladders = (
            Ladder.counted(
                config.budget_seconds, train_size, each.first_rung if each else 0, config.first_rung
            )
            for each in known
            if each is None or not each.passes
        )
        return tuple(REDUCTION * ladder.top for ladder in ladders)

    def describe(self, space: str, budget_seconds: float) -> list[dict[str, Any]]:
        """See `Engine.describe`; of several families, one after the other."""
        with self._spaces(budget_seconds) as spaces:
            rows = [(name, row) for name, each in spaces.items() for row in each.describe()]
        several = len(spaces) > 1
        return [{**row, "name": f"{name}: {row['name']}"} if several else row for name, row in rows]

    def settable(self, space: str) -> Collection[str] | None:
        """See `Engine.settable`."""
        with self._spaces() as spaces:
            return dict.fromkeys(name for each in spaces.values() for name in each.names)

    def check_code(self) -> None:
        """See `Engine.check_code`."""
        with self._spaces() as spaces:
            for each in spaces.values():
                each.try_out()

    @contextmanager
    def _spaces(self, budget_seconds: float | None = None) -> Iterator[dict[str, Space]]:
        """By family, the search space of the configuration."""
        from pipeline_lib.config import RunConfig

        config = self.config or RunConfig.parse({"engine": self.name})
        families = [Family.find(text, self.home) for text in config.families]
        problem, budget = source.expected(config), budget_seconds or config.budget_seconds
        with open_spaces(families, problem, budget, config.settings) as spaces:
            yield {family.name: each for family, each in zip(families, spaces, strict=True)}

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

        choice("space", request.space, self.spaces)
        Search(request, self.sampler, self.pruner, listen, stop).run()

    def trials(self, study: str, directory: Path) -> list[Trial]:
        """See `Engine.trials`."""
        from pipeline_lib.search.records import read_trials

        return read_trials(directory, study)
