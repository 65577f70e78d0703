"""What only data, metric and engines know to be wrong with a configuration."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline_lib import metrics
from pipeline_lib.config import USUAL, RunConfig
from pipeline_lib.data import source
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.options import nearest
from pipeline_lib.search.engine import Engine, find_engine
from pipeline_lib.settings import FIELD


def check(config: RunConfig, home: Home, progress: source.Progress = lambda _line: None) -> None:
    """Refuse what cannot be run, before anything is written.

    Raises:
        DataError: There are no such data, or something is wrong with them.
        ConfigurationError: The budget is too small, a file of the user's cannot be used, or a
            setting is of no engine.
        FamilyError: A file with a family is wrong; names the line and the cause.
    """
    source.check(config, home, progress)
    _check_budget(config)
    metrics.find(config.metric).check(len(source.expected(config).target))
    engines = engines_of(config, home)
    if config.family != USUAL and not any(engine.has_families for engine in engines):
        problem, remedy = f"is nothing that {config.engine} searches", "choose engine optuna"
        raise ConfigurationError("family", problem, value=config.family[0], remedy=remedy)
    check_settings(config, engines)
    for engine in engines:
        engine.check_code()


def _check_budget(config: RunConfig) -> None:
    """Refuse a budget that is too small for every engine that is to search."""
    errors = [too_small(config, name) for name in config.engines]
    if errors[0] is not None and None not in errors:
        raise errors[0]


def too_small(config: RunConfig, engine: str) -> ConfigurationError | None:
    """Why the budget is too small for an engine, where it is."""
    training = source.expected(config).train_size * (1 - config.validation_share)
    least = find_engine(engine).least_seconds(config, int(training))
    if config.budget_seconds >= least:
        return None
    given, remedy = f"{config.budget_seconds:g} s", f"give it {math.ceil(least)}s or more"
    return ConfigurationError("budget", f"is too small for {engine}", value=given, remedy=remedy)


def engines_of(config: RunConfig, home: Home) -> list[Engine]:
    """The engines that a configuration searches with."""
    return [find_engine(name).of(config, home) for name in config.engines]


def check_settings(config: RunConfig, engines: Sequence[Engine]) -> None:
    """Refuse a setting that no engine has, once every engine knows which it has."""
    if not config.set:
        return
    known = [engine.settable(config.space) for engine in engines]
    names = [name for each in known for name in each or ()]
    for name in config.settings:
        if name not in names and None not in known:
            problem = f"is no hyperparameter of {' or '.join(each.title for each in engines)}"
            raise ConfigurationError(FIELD, problem, value=name, remedy=nearest(name, names))
