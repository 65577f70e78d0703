"""A user's settings of Auto-PyTorch's hyperparameters, as changes of a search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.options import nearest
from pipeline_lib.search.autopytorch.spaces import Space, SpaceUpdate, is_number
from pipeline_lib.settings import FIELD, Value, Values

CHOICE = "__choice__"
"""Stands for the components themselves, among the hyperparameters of a node."""


def settable_names(updatable: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a setting may name: `node:hyperparameter`, as the space's description does."""
    return [f"{node}:{name}" for node, names in updatable.items() for name in names]


def with_settings(
    space: Space, settings: Mapping[str, Values], updatable: Mapping[str, Mapping[str, Any]]
) -> Space:
    """A space with a user's ranges in place of its own of the same names; others are ignored.

    Components are chosen by `include`: Auto-PyTorch refuses an update of `__choice__` beside it.

    Args:
        space: What is changed.
        settings: A value or a range by `node:hyperparameter`.
        updatable: By node, the hyperparameters that Auto-PyTorch lets its users change.

    Raises:
        ConfigurationError: A range is not one of its hyperparameter, or of a component that the
            space leaves out.
    """
    include = {node: list(names) for node, names in space.include.items()}
    own = {(update.node, update.hyperparameter): update for update in space.updates}
    changed: list[SpaceUpdate] = []
    for name, values in settings.items():
        node, _, hyperparameter = name.partition(":")
        known = updatable.get(node, {}).get(hyperparameter)
        given = values if isinstance(values, tuple) else (values,)
        if known is None:  # another engine's: that some engine has it is checked with all of them
            continue
        _check_values(name, given, known["range"])
        if hyperparameter == CHOICE:
            include[node] = [str(value) for value in given]
            continue
        before = own.get((node, hyperparameter))
        log = before.log if before and len(before.range) == len(given) else known["log"]
        changed.append(SpaceUpdate(node, hyperparameter, given, log and len(given) == 2))
        _check_order(changed[-1])
        own[node, hyperparameter] = changed[-1]
    for update in changed:
        _check_included(update, include)
    return Space(include, tuple(each for each in own.values() if _is_included(each, include)))


def _check_included(update: SpaceUpdate, include: Mapping[str, Sequence[str]]) -> None:
    if not _is_included(update, include):
        component = update.hyperparameter.partition(":")[0]
        problem = f"is of {component}, which the space leaves out"
        remedy = f"set {update.node}:{CHOICE}={component} too, or choose --space full"
        raise ConfigurationError(FIELD, problem, value=update.name, remedy=remedy)


def _is_included(update: SpaceUpdate, include: Mapping[str, Sequence[str]]) -> bool:
    component, separator, _ = update.hyperparameter.partition(":")
    return not separator or component in include.get(update.node, [component])


def _check_values(name: str, given: Sequence[Value], known: Sequence[Value]) -> None:
    """Whether a hyperparameter that the package itself gives this range may have such values."""
    if any(map(is_number, known)):
        if len(given) > 2 or not all(map(is_number, given)):
            remedy = "give one number, or the lowest and the highest"
            problem = f"gives {name}, which is a number, another range"
            raise ConfigurationError(FIELD, problem, value=list(given), remedy=remedy)
        return
    for value in given:
        if not any(value == other and type(value) is type(other) for other in known):
            problem = f"gives {name} what is not among its choices"
            remedy = nearest(str(value), map(str, known))
            raise ConfigurationError(FIELD, problem, value=value, remedy=remedy)


def _check_order(update: SpaceUpdate) -> None:
    numbers = [value for value in update.range if is_number(value)]
    if len(numbers) < 2:
        return
    low, high = numbers
    if low > high:
        problem, remedy = f"gives {update.name} a range upside down", "the lowest comes first"
        raise ConfigurationError(FIELD, problem, value=numbers, remedy=remedy)
    if update.log and low <= 0:
        problem = f"gives {update.name}, whose scale is logarithmic, a range that is not above 0"
        raise ConfigurationError(FIELD, problem, value=numbers)
