"""Engines: the ways to search. A new one is a class that `make_engine` knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.home import Home
    from pipeline_lib.search.engine import Engine

_SECONDS_PER_SAMPLE = 1.2e-4  # of a network of Optuna's default space, on one core, about
_OPTUNA_BEGINS, _AUTOPYTORCH_BEGINS = 1.0, 7.0  # seconds until a first training


def make_engine(name: str, config: RunConfig, home: Home) -> Engine:
    """The engine of this name, set up as the configuration says."""
    if name == "optuna":
        from pipeline_lib.search.driver import OptunaEngine

        return OptunaEngine(config.sampler)
    from pipeline_lib.search.autopytorch.engine import AutoPytorchEngine
    from pipeline_lib.search.autopytorch.spaces import parse_updates

    return AutoPytorchEngine(home, parse_updates(config.search_space_updates))


def least_seconds(name: str, config: RunConfig, train_size: int) -> float:
    """The budget, about, below which an engine finds no model of so many training images.

    Optuna has to begin and climb its first rung, Auto-PyTorch to begin and make one epoch.
    """
    if name == "optuna":
        from pipeline_lib.search.fidelity import BASE_SAMPLES

        first = config.first_rung or BASE_SAMPLES
        return _OPTUNA_BEGINS + first * _SECONDS_PER_SAMPLE
    from pipeline_lib.search.autopytorch.fidelity import SECONDS_PER_SAMPLE

    return _AUTOPYTORCH_BEGINS + train_size * SECONDS_PER_SAMPLE
