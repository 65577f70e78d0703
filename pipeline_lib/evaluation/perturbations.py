"""Robustness: the accuracy of a classifier on perturbed images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pipeline_lib.training.loop import EVALUATION_BATCH, answers
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


def accuracy_when_perturbed(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy in [0, 1] under each perturbation; the same for the same model and images.

    `images` is (N, C, H, W) uint8, `labels` (N,) int64.
    """
    return {
        name: _accuracy(model, images, labels, perturb) for name, perturb in PERTURBATIONS.items()
    }


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor, perturb: Perturbation) -> float:
    generator = torch.Generator().manual_seed(_SEED)
    perturbed = (perturb(some, generator) for some in images.split(EVALUATION_BATCH))
    found = torch.cat(list(answers(model, perturbed))).argmax(1)
    return int((found == labels).sum()) / len(labels)
