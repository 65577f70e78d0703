"""A family's search space: asked, narrowed by what the user set, and described."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline_lib.data.problem import Problem
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families.asking import Asked, asking
from pipeline_lib.families.family import Family
from pipeline_lib.families.suggestions import Suggestions, from_trial
from pipeline_lib.trial import Configuration

if TYPE_CHECKING:  # the names of hyperparameters are asked for by who has no need of Optuna
    import optuna
    from optuna.distributions import BaseDistribution

_DESCRIBING_TRIALS = 64
_FIELD = "set"


@contextmanager
def open_spaces(
    families: Sequence[Family], problem: Problem, budget: float, settings: Mapping[str, Any]
) -> Iterator[list[Space]]:
    """The search spaces of families, as long as they may be asked; see `Space`.

    Raises:
        FamilyError: A user's file cannot be imported; names the line and the cause.
    """
    with ExitStack() as opened:
        asked = [opened.enter_context(asking(family)) for family in families]
        yield [Space(each, problem, budget, settings) for each in asked]


def _random_study() -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(0))


@dataclass(frozen=True)
class Space:
    """What a search may try of a family, for one problem and one budget.

    Attributes:
        budget: Seconds, > 0.
        settings: By hyperparameter a fixed value, or a tuple: the lowest and highest number, or
            the choices that are left. Those of other families are not looked at.
    """

    asked: Asked
    problem: Problem
    budget: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variants(self) -> str:
        """As `Family.variants`; none where the user set it."""
        name = self.asked.variants
        return "" if name in self.settings else name

    def propose(self, trial: optuna.trial.BaseTrial) -> Configuration:
        """The configuration that a trial's suggestions make.

        Raises:
            FamilyError: The code of a user's file raised.
            ConfigurationError: A hyperparameter is set to what it cannot be.
        """
        return self.asked.space(Suggestions(self._source(trial)), self.problem, self.budget)

    def try_out(self) -> None:
        """Have a user's file build a network, which answers and learns from two made-up examples.

        Raises:
            FamilyError: Something in it is wrong; names the line and the cause.
            ConfigurationError: A hyperparameter is set to what it cannot be.
        """
        self.asked.try_out(self.propose(_random_study().ask()), self.problem)

    def priors(self) -> list[dict[str, Any]]:
        """Parameters to try first, without those that the user fixed or ruled out."""
        known = self.asked.priors(self.problem, self.budget)
        if not self.settings:
            return known
        fixed = {name for name, given in self.settings.items() if not isinstance(given, tuple)}
        free = [{n: v for n, v in prior.items() if n not in fixed} for prior in known]
        return [prior for prior in free if self.holds(prior)]

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a proposal may have all of these."""
        offered = self.distributions
        return all(n in offered and _holds(offered[n], value) for n, value in parameters.items())

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What each parameter is drawn from."""
        return {n: d for trial in self._asked_often for n, d in trial.distributions.items()}

    @cached_property
    def names(self) -> Collection[str]:
        """Every hyperparameter that may be set, in the order in which they are suggested."""
        return {
            name: None for seen in self._asked_often for name in seen.user_attrs["names"]
        }.keys()

    def describe(self) -> list[dict[str, Any]]:
        """The hyperparameters as JSON values: name, type, range, log, default, conditions.

        What not every proposal has is said to be conditional.
        """
        return [
            {
                "name": parameter,
                "type": type(distribution).__name__.removesuffix("Distribution"),
                "range": _range(distribution),
                "log": getattr(distribution, "log", False),
                "default": None,
                "conditions": []
                if all(parameter in trial.params for trial in self._asked_often)
                else ["depends on other choices"],
            }
            for parameter, distribution in self.distributions.items()
        ]

    @cached_property
    def _asked_often(self) -> list[optuna.Trial]:
        """Trials at random, enough to show every branch of a space that is define-by-run."""
        study = _random_study()
        asked = [study.ask() for _ in range(_DESCRIBING_TRIALS)]
        for trial in asked:
            suggesting = Suggestions(self._source(trial))
            self.asked.space(suggesting, self.problem, self.budget)
            trial.set_user_attr("names", [*suggesting.params])
        return asked

    def _source(self, trial: optuna.trial.BaseTrial) -> Any:
        """The trial's values, within what the user set."""
        drawn = from_trial(trial)

        def source(kind: str, name: str, limits: Mapping[str, Any]) -> Any:
            given = self.settings.get(name)
            if given is None:
                return drawn(kind, name, limits)
            if isinstance(given, tuple):
                return drawn(kind, name, _narrowed(kind, name, limits, given))
            if not _may_be(kind, limits, given):
                raise _outside(name, given, limits)
            return given

        return source


def _may_be(kind: str, limits: Mapping[str, Any], given: Any) -> bool:
    """Whether a suggestion with these arguments may give such a value."""
    if kind == "categorical":
        return given in limits["choices"]
    within = _is_number(given) and limits["low"] <= given <= limits["high"]
    return within and (kind == "float" or given == int(given))


def _narrowed(
    kind: str, name: str, limits: Mapping[str, Any], given: tuple[Any, ...]
) -> dict[str, Any]:
    """The arguments of a suggestion, within a range or choices."""
    if kind == "categorical":
        if not set(given) <= set(limits["choices"]):
            raise _outside(name, [*given], limits)
        return {"choices": [choice for choice in limits["choices"] if choice in given]}
    if len(given) != 2 or not all(map(_is_number, given)):
        problem = f"gives {name} what is no range"
        remedy = f'write its lowest and highest number: "{name}=[LOW,HIGH]"'
        raise ConfigurationError(_FIELD, problem, value=[*given], remedy=remedy)
    low, high = max(limits["low"], given[0]), min(limits["high"], given[1])
    if step := limits["step"]:
        low = limits["low"] + math.ceil((low - limits["low"]) / step) * step
    if low > high:
        raise _outside(name, [*given], limits)
    if kind == "int":
        low, high = math.ceil(low), math.floor(high)
    return {**limits, "low": low, "high": high}


def _outside(name: str, given: Any, limits: Mapping[str, Any]) -> ConfigurationError:
    if "choices" in limits:
        allowed = f"choose from {', '.join(map(str, limits['choices']))}"
    else:
        allowed = f"its range is {limits['low']:g} to {limits['high']:g}"
    return ConfigurationError(
        _FIELD, f"gives {name} a value that it cannot have", value=given, remedy=allowed
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a parameter that is drawn from this may have such a value."""
    from optuna.distributions import CategoricalDistribution

    known = _range(distribution)
    if isinstance(distribution, CategoricalDistribution):
        return value in known
    return bool(known[0] <= value <= known[1])


def _range(distribution: object) -> list[Any]:
    """The choices, or the lowest and the highest number."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low, distribution.high]
