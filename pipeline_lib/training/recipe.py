"""What a training asks of the family that its network belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pipeline_lib.data.problem import Problem
from pipeline_lib.trial import Configuration

if TYPE_CHECKING:  # who starts workers has no need of torch itself
    import torch
    from torch import Tensor, nn

Mix: TypeAlias = "Callable[[Tensor, Tensor, Configuration, torch.Generator], tuple[Tensor, Tensor]]"
"""Images (B, C, H, W) and targets (B, classes), a configuration and a generator, to the former."""


class Recipe(Protocol):
    """`families.family.Family` as trainings know it: they stand above the families."""

    @property
    def schedule(self) -> Callable[[float], float] | None:
        """Share of the peak learning rate at a progress in [0, 1]; None for a constant rate."""

    def build(self, configuration: Configuration, problem: Problem) -> nn.Module:
        """A fresh network: raw images (B, C, H, W), 0…255, to logits (B, classes)."""

    def architecture(self, configuration: Configuration, problem: Problem) -> dict[str, Any]:
        """JSON of which `pipeline_lib.models` builds the same network."""

    def transform(
        self, images: Tensor, configuration: Configuration, generator: torch.Generator
    ) -> Tensor:
        """Raw images (B, C, H, W) of a training batch, augmented: float32, 0…255."""

    @property
    def mix(self) -> Mix | None:
        """Blends augmented images and one-hot targets among each other; None where none are."""

    def optimizer(self, model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
        """The optimiser of a network, at its peak learning rate."""

    def loss(self, logits: Tensor, targets: Tensor, configuration: Configuration) -> Tensor:
        """The mean loss of logits (B, classes) under targets (B,) or (B, classes); see `mix`."""

    def place(self, error: BaseException) -> str:
        """The line of a user's file in which an error began, or ""."""
