"""The default network: two or three convolution stages that pool early, then a small head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.models.upright import Upright

BASE_WIDTHS = range(4, 513, 2)
REGISTER = 16
"""Kernels take so many channels at a time, on the CPU and on tensor cores: 24 cost what 32 do."""


class Normalise(nn.Module):
    """Raw pixels to zero mean and unit variance per channel: (B, C, H, W) 0…255 to float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    def set_from(self, images: Tensor) -> None:
        """Take mean and deviation from raw images (N, C, H, W)."""
        pixels = images.float()
        self.mean.copy_(pixels.mean(dim=(0, 2, 3), keepdim=True))
        self.std.copy_(pixels.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) raw to (B, C, H, W) float32."""
        return (images.float() - self.mean) / self.std


class ConvNet(nn.Module):
    """Raw images (B, C, H, W), uint8 or float in 0…255, to logits (B, classes)."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        channels, height, width = architecture["shape"]
        self.view = Upright() if architecture.get("upright") else nn.Identity()
        self.normalise = Normalise(channels)
        stages: list[nn.Module] = []
        for conv in architecture["convolutions"]:
            stages += _stage(channels, conv)
            channels = conv["width"]
            height, width = _output_size((height, width), conv)
        self.features = nn.Sequential(*stages)
        self.head = _head(channels * height * width, architecture)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) raw pixels to (B, classes) logits."""
        x = self.normalise(self.view(images))  # (B, C, H, W)
        x = self.features(x)  # (B, last width, h, w)
        logits: Tensor = self.head(x)  # (B, classes)
        return logits


def _stage(channels: int, conv: dict[str, Any]) -> list[nn.Module]:
    """Convolution, pooling before the activation (same function, a quarter of the work), ReLU."""
    padding = conv["kernel"] // 2 if conv["same"] else 0
    layers: list[nn.Module] = [
        nn.Conv2d(channels, conv["width"], conv["kernel"], conv["stride"], padding, bias=False)
    ]
    if conv["pool"]:
        layers.append(nn.MaxPool2d(2))
    return [*layers, nn.BatchNorm2d(conv["width"]), nn.ReLU(inplace=True)]


def _head(features: int, architecture: dict[str, Any]) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    if architecture["fc"]:
        layers += [nn.Linear(features, architecture["fc"]), nn.ReLU(inplace=True)]
        features = architecture["fc"]
    if architecture["dropout"]:
        layers.append(nn.Dropout(architecture["dropout"]))
    return nn.Sequential(*layers, nn.Linear(features, architecture["classes"]))


def _output_size(size: tuple[int, int], conv: dict[str, Any]) -> tuple[int, int]:
    padding = conv["kernel"] // 2 if conv["same"] else 0
    shrink = 2 if conv["pool"] else 1
    height, width = (
        ((side + 2 * padding - conv["kernel"]) // conv["stride"] + 1) // shrink for side in size
    )
    return height, width


def multiply_adds(architecture: dict[str, Any]) -> int:
    """Multiply-adds that one image costs in convolutions and matrices."""
    channels, height, width = architecture["shape"]
    total = 0
    for conv in architecture["convolutions"]:
        unpooled = _output_size((height, width), {**conv, "pool": False})
        total += math.prod(unpooled) * channels * conv["kernel"] ** 2 * conv["width"]
        channels, (height, width) = conv["width"], _output_size((height, width), conv)
    features = channels * height * width
    classes: int = architecture["classes"]
    hidden: int = architecture["fc"]
    head: int = hidden * (features + classes) if hidden else features * classes
    return int(total) + head


def design(configuration: dict[str, Any], shape: Sequence[int], classes: int) -> dict[str, Any]:
    """The widest architecture of the configuration's form within its multiply-adds.

    Widths follow from `multiply_adds`, so that every proposal fits the size it was asked for and
    the seconds that a rung takes can be foretold. Stages grow by two, as in VGG, or nearly:
    widths are whole registers.
    """
    best = None
    for base in BASE_WIDTHS:
        candidate = {
            "kind": "convnet",
            "shape": list(shape),
            "classes": classes,
            "convolutions": list(_convolutions(configuration, base)),
            "fc": configuration["fc"],
            "dropout": configuration["dropout"],
            "upright": configuration.get("upright", False),
        }
        if best is not None and multiply_adds(candidate) > configuration["multiply_adds"]:
            break
        best = candidate
    assert best is not None
    return best


def _convolutions(configuration: dict[str, Any], base: int) -> Iterator[dict[str, Any]]:
    same = configuration["padding"] == "same"
    strided = configuration["stem"] == "stride"
    kernel = configuration["stem_kernel"]
    double = configuration.get("double", False)
    plain = {"kernel": 3, "stride": 1, "same": same, "pool": False}
    if double:
        yield plain | {"width": whole(0.75 * base), "kernel": kernel}
        kernel = 3
    stride = 2 if strided else 1
    wide = {"width": whole(base), "kernel": kernel, "stride": stride, "pool": not strided}
    yield plain | wide
    if double:
        yield plain | {"width": whole(1.5 * base)}
    yield plain | {"width": whole(2 * base), "pool": True}
    if configuration["conv3"]:
        yield plain | {"width": whole(configuration["conv3"] * 2 * base)}


def whole(width: float) -> int:
    """The nearest number of channels that fills registers; a half or a quarter of one if asked."""
    for part in (REGISTER // 4, REGISTER // 2):
        if width <= part:
            return part
    return max(1, int(width / REGISTER + 0.5)) * REGISTER
