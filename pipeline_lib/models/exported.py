"""A network that Auto-PyTorch found, as a plain module: needs torch, not Auto-PyTorch.

The layers carry the names that they have in Auto-PyTorch, so that its weights fit as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.models.exported_steps import build_step

KIND = "autopytorch"

_PLAIN: dict[str, type[nn.Module]] = {
    "ReLU": nn.ReLU,
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "Flatten": nn.Flatten,
    "Identity": nn.Identity,
}


class TabularNetwork(nn.Module):
    """Raw images (B, C, H, W), uint8 or float in 0…255, to logits (B, classes)."""

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.preprocessing = nn.Sequential(*map(build_step, architecture["preprocessing"]))
        self.network = _build(architecture["network"])

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) raw pixels to (B, classes) logits."""
        x = images.contiguous().flatten(1).float()  # (B, C * H * W), in the order of the arrays
        x = self.preprocessing(x)  # (B, features)
        logits: Tensor = self.network(x)  # (B, classes)
        return logits


class ResBlock(nn.Module):
    """`ResBlock` of Auto-PyTorch 0.2.1 as it predicts: shake-shake halves, shake-drop scales.

    Two branches are averaged, and a branch is scaled by the chance that training kept it; both are
    what the originals do outside training (`network_backbone/utils.py`).
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.start_norm = _build(spec["start_norm"]) if spec["start_norm"] else None
        self.shortcut = _build(spec["shortcut"]) if spec["shortcut"] else None
        self.layers = _build(spec["layers"])
        self.shake_shake_layers = _build(spec["shake_shake"]) if spec["shake_shake"] else None
        self.scale = float(spec["scale"])

    def forward(self, x: Tensor) -> Tensor:
        """(B, features in) to (B, features out)."""
        residual = x
        if self.start_norm is not None and self.shortcut is not None:
            x = self.start_norm(x)
            residual = self.shortcut(x)
        branch: Tensor = self.layers(x)
        if self.shake_shake_layers is not None:
            branch = branch * 0.5 + self.shake_shake_layers(x) * 0.5
        return residual + branch * self.scale


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """A fresh network, to be filled with `load_state_dict`.

    It takes raw images (B, C, H, W), uint8 or float in 0…255, and returns logits (B, classes).

    Raises:
        KeyError: The architecture names a layer or step that is not known.
    """
    return TabularNetwork(architecture)


def multiply_adds(architecture: Mapping[str, Any]) -> int:
    """Multiply-adds that one image costs in matrices."""
    with torch.device("meta"):
        network = build(architecture)
    return sum(tensor.numel() for name, tensor in network.state_dict().items() if tensor.dim() == 2)


def _build(spec: Mapping[str, Any]) -> nn.Module:
    kind = spec["layer"]
    if kind == "Sequential":
        return nn.Sequential(*map(_build, spec["layers"]))
    if kind == "Linear":
        return nn.Linear(spec["in"], spec["out"])
    if kind == "BatchNorm1d":
        return nn.BatchNorm1d(spec["features"], eps=spec["eps"])
    if kind == "Dropout":
        return nn.Dropout(spec["p"])
    if kind == "ResBlock":
        return ResBlock(spec)
    return _PLAIN[kind]()
