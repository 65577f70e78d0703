"""Engines: the ways to search. A new one is a class that `make_engine` knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.engines.base import Engine
    from pipeline_lib.home import Home


def make_engine(name: str, config: RunConfig, home: Home) -> Engine:
    """The engine of this name, set up as the configuration says."""
    if name == "optuna":
        from pipeline_lib.engines.optuna_engine import OptunaEngine

        return OptunaEngine(config.sampler)
    from pipeline_lib.engines.autopytorch.engine import AutoPytorchEngine
    from pipeline_lib.engines.autopytorch.spaces import parse_updates

    return AutoPytorchEngine(home, parse_updates(config.search_space_updates))
