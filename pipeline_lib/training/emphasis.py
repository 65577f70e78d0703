"""Which samples a pass takes: from the third one on, rather those that were hard."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WHOLE_PASSES = 2  # over every sample, before any is preferred
SHARE = 0.4  # of the samples that a later pass takes
_MEMORY = 0.5  # how much a loss that was seen before still counts


class Emphasis:
    """Deals out the samples of a training by how hard they were.

    Most samples of a good network are easy, and a step on them changes little. So each pass after
    the second draws two fifths of them without repetition, by the square of their rank among all
    losses (rank-based: Loshchilov & Hutter 2015, sec. 4; drawn as in Efraimidis & Spirakis 2006).
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        """`count` samples, > 0; the generator's device is where indices live."""
        self._generator = generator
        self._losses = torch.zeros(count, device=generator.device)

    def order(self, number: int) -> Tensor:
        """Indices (N,) of the samples of a pass, shuffled; passes count from 0."""
        count, where = len(self._losses), self._generator.device
        if number < WHOLE_PASSES:
            return torch.randperm(count, generator=self._generator, device=where)
        weights = torch.empty(count, device=where)
        ranks = torch.arange(1, count + 1, device=where) / count  # in (0, 1]
        weights[self._losses.argsort()] = ranks.square()
        chance = torch.rand(count, generator=self._generator, device=where)
        keys = chance.clamp_min(1e-9).log() / weights
        picked = keys.topk(max(1, round(SHARE * count))).indices
        return picked[torch.randperm(len(picked), generator=self._generator, device=where)]

    def learn(self, which: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take in what the network said, (B, classes), of samples (B,) of these labels (B,)."""
        losses = F.cross_entropy(logits, labels, reduction="none")  # (B,)
        self._losses[which] = _MEMORY * self._losses[which] + (1 - _MEMORY) * losses
