"""The search spaces by name. Imports nothing of Auto-PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.options import nearest
from pipeline_lib.settings import Value


@dataclass(frozen=True)
class SpaceUpdate:
    """A new range of one hyperparameter: Auto-PyTorch's `HyperparameterSearchSpaceUpdate`.

    Attributes:
        node: A step of the pipeline, `network_backbone`.
        hyperparameter: Its name there, `ShapedResNetBackbone:max_units`; `__choice__` for the
            components themselves.
        range: The lowest and highest number, or the choices; one value alone fixes it.
        log: Whether numbers are drawn on a logarithmic scale.
        default: The value tried first; the middle of the range, or the first choice, if None.
    """

    node: str
    hyperparameter: str
    range: tuple[Value, ...]
    log: bool = False
    default: Value | None = None

    @property
    def name(self) -> str:
        """How a setting names it."""
        return f"{self.node}:{self.hyperparameter}"

    @property
    def first_value(self) -> Value:
        """The default, or the middle of the range."""
        if self.default is not None:
            return self.default
        low, *rest = self.range
        if len(rest) != 1 or not is_number(low) or not is_number(rest[0]):
            return low
        high = rest[0]
        middle = math.sqrt(float(low) * float(high)) if self.log else (low + high) / 2
        return round(middle) if isinstance(low, int) and isinstance(high, int) else middle

    def as_json(self) -> dict[str, Any]:
        """A row of the worker's job."""
        return {
            "node": self.node,
            "hyperparameter": self.hyperparameter,
            "range": list(self.range),
            "log": self.log,
            "default": self.first_value,
        }


@dataclass(frozen=True)
class Space:
    """What may be chosen: components by step of the pipeline, and ranges that differ."""

    include: Mapping[str, Sequence[str]]
    updates: tuple[SpaceUpdate, ...] = ()


# A switch with settings of its own (`use_dropout`) cannot be fixed at off: Auto-PyTorch refuses
# those settings then. Their being 0 does the same.
_U = SpaceUpdate
_RES, _MLP, _PLAIN = "ShapedResNetBackbone", "ShapedMLPBackbone", "ResNetBackbone"

TINY_CS = Space(
    include={
        "network_backbone": [_RES],
        "feature_preprocessor": ["TruncatedSVD"],
        "scaler": ["StandardScaler"],
        "optimizer": ["SGDOptimizer"],
        "lr_scheduler": ["CosineAnnealingLR"],
        "trainer": ["StandardTrainer"],
    },
    updates=(
        # A share of the features, which 0.2.1 asks for: 100 of MNIST's 784.
        _U("feature_preprocessor", "TruncatedSVD:target_dim", (0.128, 0.128)),
        _U("data_loader", "batch_size", (125,)),
        _U("network_backbone", f"{_RES}:blocks_per_group", (1, 4)),
        _U("network_backbone", f"{_RES}:max_units", (10, 1024), log=True),
        _U("network_backbone", f"{_RES}:num_groups", (1, 9)),
        _U("optimizer", "SGDOptimizer:lr", (1e-4, 0.1), log=True),
        _U("optimizer", "SGDOptimizer:momentum", (0.1, 0.999)),
        _U("optimizer", "SGDOptimizer:weight_decay", (1e-5, 0.1)),
        _U("trainer", "StandardTrainer:weighted_loss", (True,)),
        # What the preset of 0.0.2 had no choice about.
        _U("network_backbone", f"{_RES}:activation", ("relu",)),
        _U("network_backbone", f"{_RES}:resnet_shape", ("funnel",)),
        _U("network_backbone", f"{_RES}:max_dropout", (0.0,)),
        _U("network_backbone", f"{_RES}:max_shake_drop_probability", (0.0,)),
        _U("network_backbone", f"{_RES}:use_shake_shake", (False,)),
        _U("network_head", "fully_connected:num_layers", (1,)),
        _U("lr_scheduler", "CosineAnnealingLR:T_max", (10, 20)),
        _U("imputer", "numerical_strategy", ("mean",)),
    ),
)
"""The chapter's preset of Auto-PyTorch 0.0.2, as closely as 0.2.1 allows.

It differs where 0.2.1 does: epochs are the fidelity, not seconds; the output of the backbone has a
width of its own (`output_dim`) to which the funnel narrows; the cosine is counted in epochs, and
10 is the shortest that 0.2.1 has; the initialisation is searched.
"""

DEFAULT = Space(
    include={
        "network_backbone": [_PLAIN, _MLP],
        "feature_preprocessor": ["NoFeaturePreprocessor"],
        "scaler": ["MinMaxScaler"],
        "optimizer": ["AdamWOptimizer"],
        "lr_scheduler": ["BudgetCosineLR"],
        "network_init": ["KaimingInit", "XavierInit"],
        "trainer": ["StandardTrainer", "MixUpTrainer"],
    },
    updates=(
        _U("imputer", "numerical_strategy", ("mean",)),
        _U("data_loader", "batch_size", (96, 384), log=True, default=192),
        _U("optimizer", "AdamWOptimizer:lr", (1e-3, 1e-2), log=True),
        _U("optimizer", "AdamWOptimizer:weight_decay", (0.0, 0.1), default=0.01),
        _U("optimizer", "AdamWOptimizer:beta1", (0.85, 0.95)),
        _U("optimizer", "AdamWOptimizer:beta2", (0.95, 0.999), default=0.99),
        _U("network_backbone", f"{_PLAIN}:activation", ("relu",)),
        _U("network_backbone", f"{_PLAIN}:num_groups", (1, 2)),
        _U("network_backbone", f"{_PLAIN}:blocks_per_group", (1,)),
        _U("network_backbone", f"{_PLAIN}:num_units", (192, 512), log=True),
        _U("network_backbone", f"{_PLAIN}:use_dropout", (True, False)),
        _U("network_backbone", f"{_PLAIN}:dropout", (0.05, 0.4)),
        _U("network_backbone", f"{_PLAIN}:max_shake_drop_probability", (0.0,)),
        _U("network_backbone", f"{_PLAIN}:use_shake_shake", (False,)),
        _U("network_backbone", f"{_MLP}:activation", ("relu",)),
        _U("network_backbone", f"{_MLP}:mlp_shape", ("brick", "funnel", "long_funnel")),
        _U("network_backbone", f"{_MLP}:max_units", (256, 1024), log=True),
        _U("network_backbone", f"{_MLP}:output_dim", (64, 256), log=True),
        _U("network_backbone", f"{_MLP}:num_groups", (2, 3)),
        _U("network_backbone", f"{_MLP}:use_dropout", (True, False)),
        _U("network_backbone", f"{_MLP}:max_dropout", (0.05, 0.4)),
        _U("network_head", "fully_connected:num_layers", (1,)),
        _U("trainer", "StandardTrainer:weighted_loss", (False,)),
        _U("trainer", "MixUpTrainer:weighted_loss", (False,)),
        _U("trainer", "MixUpTrainer:alpha", (0.05, 0.4)),
    ),
)
"""Restricted to what pays on small pictures in minutes: few evaluations are hopeless.

Scaling to [0, 1] beats standardising, which blows up the pixels at the border that are hardly ever
inked (test 98.4 against 98.1 after 6 epochs). A shaped residual network is never narrower than its
input (784 pixels make 2.6 million weights), so the plain one takes its place.
"""

SPACES: Mapping[str, Space] = {
    "default": DEFAULT,
    "tiny_cs": TINY_CS,
    "book": TINY_CS,
    "full": Space(include={}),
}


def find_space(name: str) -> Space:
    """The space of a name.

    Raises:
        ConfigurationError: There is none of this name.
    """
    if name in SPACES:
        return SPACES[name]
    raise ConfigurationError(
        "space", "is unknown to Auto-PyTorch", value=name, remedy=nearest(name, SPACES)
    )


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of a setting is one; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
