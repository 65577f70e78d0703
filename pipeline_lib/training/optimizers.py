"""Optimisers by name."""

from __future__ import annotations

import torch
from torch import nn

from pipeline_lib.trial import Configuration, number


def make_optimizer(model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    """The configuration's optimiser; weight decay on matrices and kernels only.

    The chapter's four (Adam, Adadelta, RMSprop, SGD) keep PyTorch's defaults but the learning rate.
    """
    kind = str(configuration["optimizer"])
    lr = number(configuration["lr"])
    if kind in ("Adam", "Adadelta", "RMSprop", "SGD"):
        chapter: torch.optim.Optimizer = getattr(torch.optim, kind)(model.parameters(), lr=lr)
        return chapter
    parameters = list(model.parameters())
    decay = number(configuration["weight_decay"])
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=True)
