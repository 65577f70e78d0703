"""Auto-PyTorch as an engine: its worker searches in an environment of its own, as a subprocess."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pipeline_lib.errors import ConfigurationError, EngineUnavailable
from pipeline_lib.home import Home
from pipeline_lib.search.autopytorch.fidelity import SECONDS_PER_SAMPLE
from pipeline_lib.search.autopytorch.settings import settable_names, with_settings
from pipeline_lib.search.autopytorch.spaces import SPACES, Space, find_space
from pipeline_lib.search.engine import Engine, Listener, SearchRequest
from pipeline_lib.settings import FIELD, Values

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig

ENGINE = "autopytorch"
_START_SECONDS = 7.0  # until a first training


@dataclass(frozen=True)
class AutoPytorchEngine(Engine):
    """Searches an architecture space of Auto-PyTorch 0.2.1 with SMAC and Hyperband.

    Attributes:
        home: Where its environment is.
        settings: Values and ranges by `node:hyperparameter`, in place of the space's own.
    """

    home: Home
    settings: Mapping[str, Values] = field(default_factory=dict)
    name, title = ENGINE, "Auto-PyTorch"
    spaces = tuple(SPACES)
    by_default = True

    @classmethod
    def of(cls, config: RunConfig, home: Home) -> Self:
        """See `Engine.of`."""
        return cls(home, config.settings)

    @staticmethod
    def preload() -> None:
        """See `Engine.preload`."""
        import pipeline_lib.search.autopytorch.driver  # noqa: F401

    @staticmethod
    def least_seconds(config: RunConfig, train_size: int) -> float:
        """What it takes to begin, and to make one epoch."""
        return _START_SECONDS + train_size * SECONDS_PER_SAMPLE

    def availability(self) -> tuple[bool, str]:
        """See `Engine.availability`."""
        from pipeline_lib.search.autopytorch import environment

        if environment.is_ready(self.home):
            return True, "can run"
        missing = environment.missing()
        built = "its environment is built on first use: automl engines install autopytorch"
        return missing is None, missing or built

    def describe(self, space: str, budget_seconds: float) -> list[dict[str, Any]]:
        """See `Engine.describe`; every budget has the same space."""
        from pipeline_lib.search.autopytorch.description import describe_space

        rows: list[dict[str, Any]] = describe_space(self.home, self._space(space))[
            "hyperparameters"
        ]
        return rows

    def settable(self, space: str) -> Collection[str] | None:
        """See `Engine.settable`; Auto-PyTorch itself says whether it can search such a space."""
        from pipeline_lib.search.autopytorch import environment

        if not environment.is_ready(self.home):
            return None
        try:
            self.describe(space, budget_seconds=0.0)
        except EngineUnavailable as refused:
            problem = f"is not possible: Auto-PyTorch {refused.problem}"
            raise ConfigurationError(FIELD, problem, value=dict(self.settings)) from refused
        return settable_names(self._updatable())

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Build the environment unless it stands.

        Raises:
            EngineUnavailable: It cannot be built; says what is missing.
        """
        from pipeline_lib.search.autopytorch import environment

        environment.ensure(self.home, progress)

    def search(self, request: SearchRequest, listen: Listener, stop: threading.Event) -> None:
        """See `Engine.search`.

        Raises:
            EngineUnavailable: The environment is not there, or the worker ended before it began.
        """
        from pipeline_lib.search.autopytorch import environment
        from pipeline_lib.search.autopytorch.driver import Search

        space = self._space(request.space)
        environment.check_ready(self.home)
        Search(self.home, space, request, listen, stop).run()

    def _space(self, name: str) -> Space:
        """The space of a name with the settings that are for Auto-PyTorch."""
        space = find_space(name)
        if not self.settings:
            return space
        return with_settings(space, self.settings, self._updatable())

    def _updatable(self) -> Mapping[str, Mapping[str, Any]]:
        """By node, what the package itself lets its users change.

        Raises:
            EngineUnavailable: Its environment is not built.
        """
        from pipeline_lib.search.autopytorch.description import describe_space

        everything = describe_space(self.home, find_space("full"))
        found: Mapping[str, Mapping[str, Any]] = everything["updatable"]
        return found
