"""The hyperparameters of an engine's trials, and which of them matter.

Trials are compared at one fidelity, the one that most trials of the engine reached: a trial pruned
after 10,000 samples and one trained to the end say nothing of their hyperparameters otherwise.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline_lib.trial import Rung, Trial, number

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ABSENT = "—"
"""The value of a hyperparameter that a trial does not have."""

_LOG_FROM = 20.0  # highest ÷ lowest value from which an axis may be logarithmic
_FEW_NUMBERS = 6  # different numbers up to which they are choices, unless hardly one repeats


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter over the comparable trials that have it."""

    name: str  # as short as it is unmistakable
    values: tuple[object, ...]  # one a trial; absent ones are `ABSENT`
    kind: str  # "linear", "log" or "category"

    @cached_property
    def choices(self) -> list[object]:
        """The different values, in a steady order."""
        found = set(self.values) - {ABSENT}
        return sorted(found, key=lambda v: (not _is_number(v), v if _is_number(v) else str(v)))


def comparable(trials: Sequence[Trial]) -> tuple[int, list[tuple[Trial, Rung]]]:
    """The fidelity that most search trials reached, and those trials with their rung there."""
    search = [trial for trial in trials if trial.stage == "search"]
    reached = Counter(rung.samples for trial in search for rung in trial.rungs)
    if not reached:
        return 0, []
    samples = max(reached, key=lambda each: (reached[each], each))
    found = [(t, r) for t in search for r in t.rungs if r.samples == samples]
    return samples, found


def hyperparameters(trials: Sequence[Trial]) -> list[Hyperparameter]:
    """Every hyperparameter that varies between these trials."""
    names = dict.fromkeys(name for trial in trials for name in trial.configuration)
    found = []
    for name in names:
        values = tuple(trial.configuration.get(name, ABSENT) for trial in trials)
        present = {value for value in values if value != ABSENT}
        if len(present) > 1:
            found.append(Hyperparameter(shortened(name, names), values, _kind(values)))
    return found


def shortened(name: str, names: Iterable[str]) -> str:
    """`lr` of `optimizer:SGDOptimizer:lr`, unless another one ends alike."""
    parts = _parts(name)
    others = [_parts(other) for other in names if other != name]
    for length in range(1, len(parts)):
        if not any(other[-length:] == parts[-length:] for other in others):
            return ":".join(parts[-length:])
    return ":".join(parts)


def _parts(name: str) -> list[str]:
    return name.removesuffix(":__choice__").split(":")  # ConfigSpace's word for which of several


def importances(varied: Sequence[Hyperparameter], regrets: Sequence[float]) -> dict[str, float]:
    """Share of each hyperparameter in what tells good trials from the rest, summing to 1.

    PED-ANOVA (Watanabe et al. 2023), which needs milliseconds and no forest of regression trees.
    Conditional hyperparameters are left out where some trial lacks them.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    everywhere = [each for each in varied if ABSENT not in each.values]
    study = optuna.create_study(direction="minimize")
    distributions = {each.name: _distribution(each) for each in everywhere}
    study.add_trials(
        [
            optuna.create_trial(
                params={each.name: _plain(each, each.values[index]) for each in everywhere},
                distributions=distributions,
                value=regret,
            )
            for index, regret in enumerate(regrets)
        ]
    )
    if not everywhere or len(set(regrets)) < 2:
        return {}
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(share) for name, share in found.items()}


def _kind(values: Sequence[object]) -> str:
    given = [value for value in values if value != ABSENT]
    present = set(given)
    numbers = [number(value) for value in present if _is_number(value)]
    drawn = any(isinstance(value, float) for value in present) and len(present) > len(given) / 2
    if len(numbers) < len(present) or (len(numbers) <= _FEW_NUMBERS and not drawn):
        return "category"
    low, high, middle = min(numbers), max(numbers), statistics.median(numbers)
    if low <= 0 or high / low < _LOG_FROM:
        return "linear"
    # Values drawn evenly on a scale have their median near its middle.
    on_log = math.log(middle / low) / math.log(high / low)
    return "log" if abs(on_log - 0.5) < abs((middle - low) / (high - low) - 0.5) else "linear"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(each: Hyperparameter, value: object) -> str | float:
    return str(value) if each.kind == "category" else number(value)


def _distribution(each: Hyperparameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if each.kind == "category":
        return CategoricalDistribution([str(value) for value in each.choices])
    numbers = [number(value) for value in each.values]
    return FloatDistribution(min(numbers), max(numbers), log=each.kind == "log")
