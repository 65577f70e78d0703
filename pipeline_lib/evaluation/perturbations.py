"""Robustness: the accuracy of a classifier on perturbed images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pipeline_lib.data.examples import Examples
from pipeline_lib.training.loop import batches, predict_on_all_cores
from pipeline_lib.training.transforms import DEGREES, SHIFT, augment

NOISE = 25.0  # standard deviation, on pixels from 0 to 255
_SEED = 0

Perturbation = Callable[[Tensor, torch.Generator], Tensor]


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    return augment(images, "shift", generator)


def _turned(images: Tensor, generator: torch.Generator) -> Tensor:
    return augment(images, "affine", generator)


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(images.shape, generator=generator) * NOISE
    return (images.float() + noise).clamp(0, 255)


PERTURBATIONS: Mapping[str, Perturbation] = {
    f"shifted by up to {SHIFT} pixels": _shifted,
    f"turned by up to {DEGREES:.0f}°, scaled and shifted": _turned,
    f"with noise of {NOISE:.0f} in 255": _noisy,
}
"""By what people call them: raw images (B, C, H, W) to float32 images in 0…255."""


def accuracy_when_perturbed(model: nn.Module, examples: Examples) -> dict[str, float]:
    """Accuracy in [0, 1] under each perturbation; the same for the same model and examples."""
    return {name: _accuracy(model, examples, perturb) for name, perturb in PERTURBATIONS.items()}


def _accuracy(model: nn.Module, examples: Examples, perturb: Perturbation) -> float:
    generator = torch.Generator().manual_seed(_SEED)
    images = batches(examples, np.arange(len(examples)))
    perturbed = (perturb(some, generator) for some in images)
    found = predict_on_all_cores(model, perturbed).argmax(1).numpy()
    return int((found == examples.targets).sum()) / len(examples)
