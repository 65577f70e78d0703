"""Engines: the ways to search. A new one is a class that `make_engine` knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.engines.base import Engine


def make_engine(name: str, config: RunConfig) -> Engine:
    """The engine of this name, set up as the configuration says."""
    from pipeline_lib.engines.optuna_engine import OptunaEngine

    return {"optuna": OptunaEngine(config.sampler)}[name]
