"""The search space as Auto-PyTorch itself builds it: for the optimiser, and described as JSON.

Runs where Auto-PyTorch runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from autoPyTorch.pipeline.components.base_choice import autoPyTorchChoice
from autoPyTorch.pipeline.tabular_classification import TabularClassificationPipeline
from autoPyTorch.utils.common import HyperparameterSearchSpace
from autoPyTorch.utils.hyperparameter_search_space_update import HyperparameterSearchSpaceUpdates
from ConfigSpace.hyperparameters import Hyperparameter

Include = Mapping[str, list[str]]


def updates_from(rows: Iterable[Mapping[str, Any]]) -> HyperparameterSearchSpaceUpdates:
    """Auto-PyTorch's own updates from JSON rows of node, hyperparameter, range, log, default."""
    updates = HyperparameterSearchSpaceUpdates()
    for row in rows:
        updates.append(
            node_name=row["node"],
            hyperparameter=row["hyperparameter"],
            value_range=tuple(row["range"]),
            default_value=row["default"],
            log=row["log"],
        )
    return updates


def describe(
    shape: tuple[int, ...], classes: int, include: Include, rows: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The space for pictures of a shape: every hyperparameter, and every name that can be updated.

    `hyperparameters` are those of ConfigSpace, with their ranges; `updatable` lists by node the
    names, ranges and defaults that `HyperparameterSearchSpaceUpdates` takes.
    """
    pipeline = TabularClassificationPipeline(
        dataset_properties=properties(shape, classes),
        include=dict(include),
        search_space_updates=updates_from(rows),
    )
    space = pipeline.get_hyperparameter_search_space()
    conditions = {
        hyperparameter.name: [str(c) for c in space.get_parent_conditions_of(hyperparameter.name)]
        for hyperparameter in space.get_hyperparameters()
    }
    return {
        "hyperparameters": [
            {**_entry(hyperparameter), "conditions": conditions[hyperparameter.name]}
            for hyperparameter in sorted(space.get_hyperparameters(), key=lambda h: h.name)
        ],
        "updatable": {node: _updatable(step) for node, step in pipeline.named_steps.items()},
    }


def properties(shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """What Auto-PyTorch wants to know of a data set of flattened pictures (C, H, W)."""
    features = 1
    for side in shape:
        features *= side
    return {
        "task_type": "tabular_classification",
        "output_type": "multiclass",
        "issparse": False,
        "issigned": False,
        "is_small_preprocess": True,
        "numerical_columns": list(range(features)),
        "categorical_columns": [],
        "num_features": features,
        "num_classes": classes,
        "input_shape": (features,),
        "output_shape": classes,
    }


def _entry(hyperparameter: Hyperparameter) -> dict[str, Any]:
    entry = {
        "name": hyperparameter.name,
        "type": type(hyperparameter).__name__.replace("Hyperparameter", ""),
        "default": hyperparameter.default_value,
        "log": bool(getattr(hyperparameter, "log", False)),
    }
    if hasattr(hyperparameter, "choices"):
        return {**entry, "range": list(hyperparameter.choices)}
    if hasattr(hyperparameter, "lower"):
        return {**entry, "range": [hyperparameter.lower, hyperparameter.upper]}
    return {**entry, "range": [hyperparameter.value]}


def _updatable(step: Any) -> dict[str, Any]:
    """The hyperparameters of a step, or of each of its choices, that an update can name."""
    if not isinstance(step, autoPyTorchChoice):
        return _defaults(step)
    found: dict[str, Any] = {}
    for name, component in step.get_components().items():
        for hyperparameter, entry in _defaults(component).items():
            found[f"{name}:{hyperparameter}"] = entry
    return {"__choice__": {"range": list(step.get_components()), "log": False}, **found}


def _defaults(component: Any) -> dict[str, Any]:
    parameters = inspect.signature(component.get_hyperparameter_search_space).parameters
    return {
        name: {"range": list(parameter.default.value_range), "log": parameter.default.log}
        for name, parameter in parameters.items()
        if isinstance(parameter.default, HyperparameterSearchSpace)
    }
