"""Convolutions that pool early, then a small head: the default family, tuned on MNIST.

Everything that was tuned for small grey images stands in this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline_lib.errors import ConfigurationError

if TYPE_CHECKING:  # the process that searches has no torch
    import torch
    from optuna.trial import BaseTrial
    from torch import Tensor, nn

    from pipeline_lib.data.problem import Problem


RAW_PIXELS = True
VARIANTS = "upright"
"""Networks that straighten images first make other errors than those that do not."""

FIRST_RUNG = 10_000
"""On MNIST, ranks after so many samples agree with those after 25 s (Spearman 0.88)."""

BASE_MULTIPLY_ADDS = 1.6e6
"""What a network may cost in a run of up to `BASE_SECONDS`; beyond that the limit grows along."""
BASE_SECONDS = 150.0
MOST_GROWTH = 6.5
"""Beyond, samples are a better use of the time than width is."""
LONG_FROM = 4e6
"""What networks may cost where finals make ten passes. There stages may be double and padded, and
a network may straighten images first. Images are sheared and labels smoothed a little: rungs are
too short to show what that is worth."""
LEAST_SIDE, MOST_SIDE = 25, 48
"""Pixels. Of smaller images nothing is left behind the last pooling; of larger ones the narrowest
network costs more than it may."""


def growth(budget_seconds: float) -> float:
    """How much larger than in a short run networks may be, ≥ 1."""
    return min(max(1.0, budget_seconds / BASE_SECONDS), MOST_GROWTH)


def space(trial: BaseTrial, problem: Problem, budget: float) -> dict[str, Any]:
    """Networks that pool early, sized to the budget in seconds; no region of it is hopeless.

    Raises:
        ConfigurationError: Images are too small or too large for them.
    """
    height, width = problem.inputs.height, problem.inputs.width
    if not (min(height, width) >= LEAST_SIDE and max(height, width) <= MOST_SIDE):
        what = f"convnet is for images of {LEAST_SIDE} to {MOST_SIDE} pixels a side"
        remedy = "choose --family resnet"
        raise ConfigurationError("family", what, value=f"{height}×{width}", remedy=remedy)
    limit = BASE_MULTIPLY_ADDS * growth(budget)
    stem = trial.suggest_categorical("stem", ["stride", "pool"])
    chosen: dict[str, Any] = {
        "multiply_adds": trial.suggest_float("multiply_adds", limit / 2, limit, log=True),
        "stem": stem,
        "stem_kernel": 5 if stem == "stride" else 3,
        "conv3": trial.suggest_categorical("conv3", [1.0, 1.5, 2.0]),
        "padding": "valid",
        "fc": trial.suggest_categorical("fc", [64, 128]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.2),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "sgd"]),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128]),
        "label_smoothing": 0.05,
        "augmentation": "sheared",
    }
    if limit >= LONG_FROM:
        chosen["double"] = trial.suggest_categorical("double", [False, True])
        chosen["padding"] = trial.suggest_categorical("padding", ["valid", "same"])
        chosen["upright"] = trial.suggest_categorical("upright", [False, True])
    else:
        chosen["label_smoothing"] = trial.suggest_categorical("label_smoothing", [0.05, 0.1])
        chosen["augmentation"] = trial.suggest_categorical("augmentation", ["shift", "affine"])
    if chosen["optimizer"] == "adamw":
        chosen["lr"] = trial.suggest_float("adamw_lr", 4e-3, 2e-2, log=True)
        chosen["weight_decay"] = trial.suggest_float("adamw_weight_decay", 1e-2, 1e-1, log=True)
    else:
        chosen["lr"] = trial.suggest_float("sgd_lr", 7e-2, 3e-1, log=True)
        chosen["weight_decay"] = trial.suggest_float("sgd_weight_decay", 1e-4, 1e-3, log=True)
    return chosen


_EARLY_POOL: dict[str, Any] = {
    "multiply_adds": 8.5e5,
    "stem": "pool",
    "conv3": 2.0,
    "fc": 64,
    "dropout": 0.1,
    "optimizer": "adamw",
    "batch_size": 64,
    "adamw_lr": 1e-2,
    "adamw_weight_decay": 2e-2,
}
_STRIDED = {**_EARLY_POOL, "stem": "stride", "dropout": 0.0, "adamw_lr": 6e-3}
_DEEP = {
    **_EARLY_POOL,
    "multiply_adds": 1.55e6,
    "padding": "same",
    "double": True,
    "upright": True,
    "conv3": 1.5,
    "batch_size": 128,
    "dropout": 0.2,
    "adamw_lr": 5e-3,
}


def priors(problem: Problem, budget: float) -> list[dict[str, Any]]:
    """What worked before, to try first, as parameters of `suggest_…`; sized to the budget."""
    grown = growth(budget)
    if BASE_MULTIPLY_ADDS * grown < LONG_FROM:
        short = {"label_smoothing": 0.05, "augmentation": "shift"}
        known = [prior | short for prior in (_STRIDED, _EARLY_POOL)]
    else:
        plain = {"double": False, "padding": "valid", "upright": False}
        known = [_DEEP, *(prior | plain for prior in (_STRIDED, _EARLY_POOL))]
    return [prior | {"multiply_adds": prior["multiply_adds"] * grown} for prior in known]


def architecture(configuration: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    """The widest network of the configuration's form within its multiply-adds, as JSON."""
    from pipeline_lib.models.convnet import design

    return design(dict(configuration), problem.inputs.shape, len(problem.target))


def build(configuration: Mapping[str, Any], problem: Problem) -> nn.Module:
    """Raw images (B, C, H, W), uint8, to logits (B, classes)."""
    from pipeline_lib.models.convnet import ConvNet

    return ConvNet(architecture(configuration, problem))


def transform(
    images: Tensor, configuration: Mapping[str, Any], generator: torch.Generator
) -> Tensor:
    """Raw images (B, C, H, W) to float32 (B, C, H, W) in 0…255, augmented as configured."""
    from pipeline_lib.training.transforms import augment

    return augment(images, str(configuration.get("augmentation", "none")), generator)


def loss(logits: Tensor, targets: Tensor, configuration: Mapping[str, Any]) -> Tensor:
    """Cross entropy of logits (B, classes) with smoothed targets (B,)."""
    from torch.nn import functional as F

    smoothing = float(configuration.get("label_smoothing") or 0.0)
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)
