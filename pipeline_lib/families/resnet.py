"""Residual networks: the family for images of any size, grey or in colour.

Nothing here was tuned on one data set: what pays on one and costs on another is a choice of the
search (docs/lab/resnet.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the process that searches has no torch
    import torch
    from optuna.trial import BaseTrial
    from torch import Tensor, nn

    from pipeline_lib.data.problem import Problem

RAW_PIXELS = True
VARIANTS = "flip"
"""Mirror images help where left and right mean nothing, and do harm with letters and digits. Rungs
are too short to show all that they are worth, so finalists are trained both ways, unless trials
of one are far behind."""

FIRST_RUNG = 10_000
"""After 3,000 samples, 24 steps, good configurations have learned little (docs/lab/resnet.md)."""

MULTIPLY_ADDS_PER_SECOND = 3e4
"""What a network may cost grows with the budget's seconds, so that finals make several passes."""
LEAST_MULTIPLY_ADDS, MOST_MULTIPLY_ADDS = 4e6, 4.5e7
LARGE = 60_000
"""Examples, beyond which networks are smaller: more of them count for more than width does."""
SMALL = 10_000
"""Examples, below which rungs make so many passes that they show what regularisation is worth."""
COARSE_SIDE = 16
"""Larger images may be shrunk less before the first stage, where networks may cost so much: """
FINE_FROM = 2e7
"""Multiply-adds below which there would be too few channels left."""


def _may_be_fine(problem: Problem, budget: float) -> bool:
    image = problem.inputs
    return max(image.height, image.width) > COARSE_SIDE and limit(problem, budget) >= FINE_FROM


def limit(problem: Problem, budget: float) -> float:
    """Multiply-adds that a network may cost; the budget is in seconds."""
    shrunk = min(1.0, math.sqrt(LARGE / problem.train_size))
    affordable = MULTIPLY_ADDS_PER_SECOND * budget * shrunk
    return min(max(affordable, LEAST_MULTIPLY_ADDS), MOST_MULTIPLY_ADDS)


def space(trial: BaseTrial, problem: Problem, budget: float) -> dict[str, Any]:
    """Networks sized to the budget, and what may be done to their images."""
    most, image = limit(problem, budget), problem.inputs
    chosen: dict[str, Any] = {
        "multiply_adds": trial.suggest_float("multiply_adds", most / 2, most, log=True),
        "blocks": trial.suggest_categorical("blocks", ["ends", "each", "two"]),
        "growth": trial.suggest_categorical("growth", [1.5, 2.0]),
        "detail": "coarse",
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        "optimizer": trial.suggest_categorical("optimizer", ["adamw", "sgd"]),
        "batch_size": trial.suggest_categorical("batch_size", [64, 128]),
        "label_smoothing": trial.suggest_categorical("label_smoothing", [0.05, 0.1]),
        "flip": trial.suggest_categorical("flip", [False, True]),
        "crop": trial.suggest_categorical("crop", [0.0, 0.07, 0.13]),
        "affine": trial.suggest_categorical("affine", [False, True]),
        "cutout": trial.suggest_categorical("cutout", [0.0, 0.25, 0.5]),
        "colour": 0.0,
        "mixup": 0.0,
    }
    if _may_be_fine(problem, budget):
        chosen["detail"] = trial.suggest_categorical("detail", ["coarse", "fine"])
    if image.channels > 1:
        chosen["colour"] = trial.suggest_categorical("colour", [0.0, 0.2, 0.4])
    if problem.train_size < SMALL:
        chosen["mixup"] = trial.suggest_categorical("mixup", [0.0, 0.4])
    if chosen["optimizer"] == "adamw":
        chosen["lr"] = trial.suggest_float("adamw_lr", 2e-3, 2e-2, log=True)
        chosen["weight_decay"] = trial.suggest_float("adamw_weight_decay", 1e-2, 1e-1, log=True)
    else:
        chosen["lr"] = trial.suggest_float("sgd_lr", 5e-2, 4e-1, log=True)
        chosen["weight_decay"] = trial.suggest_float("sgd_weight_decay", 1e-4, 2e-3, log=True)
    return chosen


_USUAL: dict[str, Any] = {
    "blocks": "each",
    "growth": 1.5,
    "dropout": 0.0,
    "optimizer": "adamw",
    "batch_size": 128,
    "label_smoothing": 0.1,
    "flip": False,
    "crop": 0.07,
    "affine": False,
    "cutout": 0.0,
    "adamw_lr": 1e-2,
    "adamw_weight_decay": 2e-2,
}


def priors(problem: Problem, budget: float) -> list[dict[str, Any]]:
    """What worked before, to try first, as parameters of `suggest_…`; sized to the budget."""
    image, known = problem.inputs, {**_USUAL, "multiply_adds": 0.9 * limit(problem, budget)}
    if _may_be_fine(problem, budget):
        known["detail"] = "coarse"
    if image.channels > 1:
        known["colour"] = 0.0
    if problem.train_size < SMALL:
        known |= {"mixup": 0.4, "batch_size": 64}
    mirrored = known | {"flip": True}
    return [mirrored, known] if image.channels > 1 else [known, mirrored]


def architecture(configuration: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    """The widest network of the configuration's form within its multiply-adds, as JSON."""
    from pipeline_lib.models.resnet import design

    return design(configuration, problem.inputs.shape, len(problem.target))


def build(configuration: Mapping[str, Any], problem: Problem) -> nn.Module:
    """Raw images (B, C, H, W), uint8, to logits (B, classes)."""
    from pipeline_lib.models.resnet import ResNet

    return ResNet(architecture(configuration, problem))


def transform(
    images: Tensor, configuration: Mapping[str, Any], generator: torch.Generator
) -> Tensor:
    """Raw images (B, C, H, W) to float32 (B, C, H, W) in 0…255, augmented as configured."""
    from pipeline_lib.training import transforms

    if configuration["flip"]:
        images = transforms.flip(images, generator)
    reach = round(configuration["crop"] * min(images.shape[2:]))
    if reach:
        images = transforms.crop(images, reach, generator)
    images = images.float()
    if configuration["affine"]:
        images = transforms.affine(images, generator, moved=False)
    if configuration["colour"]:
        images = transforms.recolour(images, configuration["colour"], generator)
    if configuration["cutout"]:
        images = transforms.cutout(images, configuration["cutout"], generator)
    return images


def mix(
    images: Tensor, targets: Tensor, configuration: Mapping[str, Any], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) blended in pairs, and their targets (B, classes), as configured."""
    from pipeline_lib.training import transforms

    if not configuration["mixup"]:
        return images, targets
    return transforms.mixup(images, targets, configuration["mixup"], generator)


def loss(logits: Tensor, targets: Tensor, configuration: Mapping[str, Any]) -> Tensor:
    """Cross entropy of logits (B, classes) with smoothed targets (B,) or (B, classes)."""
    from torch.nn import functional as F

    return F.cross_entropy(logits, targets, label_smoothing=configuration["label_smoothing"])
