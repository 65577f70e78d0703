"""The fitted preprocessing of an Auto-PyTorch pipeline as torch modules.

Each module does what the scikit-learn transformer of the same role does to a matrix (B, features);
its numbers are buffers, so that they are kept with the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Spec = Mapping[str, Any]
"""One step as JSON: its `step`, the shape of each buffer, and plain settings."""


class _Step(nn.Module):
    """A step whose buffers have the shapes that its spec names."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        for name, shape in spec["buffers"].items():
            kind = torch.long if name == "indices" else torch.float32
            self.register_buffer(name, torch.zeros(shape, dtype=kind))


class Select(_Step):
    """Keeps some columns: variance threshold, percentile, rate and model-based selection."""

    indices: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, kept)."""
        return x[:, self.indices]


class Standardize(_Step):
    """`(x - shift) / scale` for each column: every linear scaler."""

    shift: Tensor
    scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, features)."""
        return (x - self.shift) / self.scale


class Project(_Step):
    """`(x - shift) @ matrix`: truncated SVD, PCA, ICA, agglomeration by means."""

    shift: Tensor
    matrix: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, components)."""
        return (x - self.shift) @ self.matrix


class NormalizeRows(_Step):
    """Each row to norm 1, by the l1, l2 or max norm."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.order = {"l1": 1.0, "l2": 2.0, "max": math.inf}[spec["norm"]]

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, features)."""
        norm = torch.linalg.vector_norm(x, self.order, dim=1, keepdim=True)
        return x / torch.where(norm == 0, torch.ones_like(norm), norm)


class YeoJohnson(_Step):
    """The power transform of Yeo and Johnson (2000), one exponent for each column."""

    exponent: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, features)."""
        power = self.exponent.expand_as(x)
        other = 2 - power
        above = torch.log1p(x.clamp_min(0))
        below = torch.log1p((-x).clamp_min(0))
        positive = torch.where(power == 0, above, torch.expm1(power * above) / power)
        negative = torch.where(other == 0, -below, -torch.expm1(other * below) / other)
        return torch.where(x >= 0, positive, negative)


class RandomFourier(_Step):
    """Random features of the RBF kernel (Rahimi and Recht, 2007)."""

    matrix: Tensor
    offset: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, components)."""
        return torch.cos(x @ self.matrix + self.offset) * math.sqrt(2 / self.matrix.shape[1])


class KernelMap(_Step):
    """A kernel against some training rows, then a projection: Nystroem."""

    rows: Tensor
    matrix: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.kernel, self.gamma = spec["kernel"], spec["gamma"]
        self.offset, self.degree = spec["offset"], spec["degree"]

    def forward(self, x: Tensor) -> Tensor:
        """(B, features) to (B, components)."""
        return self._similarity(x) @ self.matrix

    def _similarity(self, x: Tensor) -> Tensor:
        if self.kernel == "rbf":
            return torch.exp(-self.gamma * torch.cdist(x, self.rows).square())
        if self.kernel == "cosine":
            return functional.normalize(x) @ functional.normalize(self.rows).T
        product = self.gamma * (x @ self.rows.T) + self.offset
        return torch.tanh(product) if self.kernel == "sigmoid" else product**self.degree


STEPS: dict[str, type[_Step]] = {
    "select": Select,
    "standardize": Standardize,
    "project": Project,
    "normalize_rows": NormalizeRows,
    "yeo_johnson": YeoJohnson,
    "random_fourier": RandomFourier,
    "kernel_map": KernelMap,
}


def build_step(spec: Spec) -> nn.Module:
    """The module of one step; its numbers come with the state dict."""
    return STEPS[spec["step"]](spec)
