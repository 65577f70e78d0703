"""Several networks that answer together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KIND = "ensemble"


class Ensemble(nn.Module):
    """Raw images (B, C, H, W), uint8 or float in 0…255, to logits (B, classes).

    Their softmax is the weighted mean of the members' own, each at its temperature.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        weights: Sequence[float],
        temperatures: Sequence[float],
    ) -> None:
        """`members` take raw images; weights and temperatures are above 0, weights sum to 1.

        Raises:
            ValueError: They are not.
        """
        super().__init__()
        if min(weights) <= 0 or not math.isclose(sum(weights), 1.0, abs_tol=1e-6):
            raise ValueError(f"weights {list(weights)} are no shares of a whole")
        if min(temperatures) <= 0:
            raise ValueError(f"temperatures {list(temperatures)} are not all above 0")
        self.members = nn.ModuleList(members)
        self.weights = [float(weight) for weight in weights]
        self.temperatures = [float(temperature) for temperature in temperatures]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) raw pixels to (B, classes) logits."""
        logits = [member(images) for member in self.members]
        return combine(logits, self.weights, self.temperatures)

    def extra_repr(self) -> str:
        """What PyTorch prints of it beside its members."""
        return f"weights={[round(weight, 4) for weight in self.weights]}"


def combine(
    logits: Sequence[Tensor], weights: Sequence[float], temperatures: Sequence[float]
) -> Tensor:
    """Logits (B, classes) whose softmax is the weighted mean of that of `logits`, (B, classes).

    Each of them is divided by its temperature first.
    """
    shares = [
        F.log_softmax(each / temperature, dim=1) + math.log(weight)
        for each, weight, temperature in zip(logits, weights, temperatures, strict=True)
    ]
    return torch.stack(shares).logsumexp(0)
