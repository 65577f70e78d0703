"""How large a network is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_lib.data.problem import Image

if TYPE_CHECKING:  # who starts workers has no need of torch itself
    from torch import nn


@dataclass(frozen=True)
class Size:
    """Trainable parameters; multiply-adds that an example costs in convolutions and matrices."""

    parameters: int
    multiply_adds: int


def size_of(model: nn.Module, inputs: Image) -> Size:
    """The size of a network, counted while it answers one example; nothing else changes."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    was_training, counter = model.training, FlopCounterMode(display=False)
    device = next(model.parameters()).device
    example = torch.zeros(1, *inputs.shape, dtype=torch.uint8, device=device)  # (1, C, H, W)
    with torch.random.fork_rng(), torch.no_grad(), counter:
        model.eval()(example)
    model.train(was_training)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Size(parameters, counter.get_total_flops() // 2)
