"""The residual network: it shrinks images of any size early, and pools what its blocks leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline_lib.models.convnet import BASE_WIDTHS, REGISTER, Normalise, whole

BLOCKS: Mapping[str, tuple[int, ...]] = {"ends": (1, 0, 1), "each": (1, 1, 1), "two": (1, 1, 2)}
"""Residual blocks of the stages, from the last back; stages before these have none."""
_SMALLEST_SIDE = 4
"""Nothing this low or narrow is halved again: what is left is pooled as a whole."""
_FIRST_SIDES = {"coarse": 16, "fine": 32}
"""How large the first stage is at most: shrinking early leaves time for width and samples."""


class ResNet(nn.Module):
    """Raw images (B, C, H, W), uint8 or float in 0…255, to logits (B, classes).

    The first layers shrink images: averages over large ones, then a strided convolution and a
    pooled one. Each later stage begins with a pooled convolution (pooling before the activation,
    as in `ConvNet`) followed by residual blocks, as in the networks that won DAWNBench (Coleman et
    al. 2017; Page 2018, "How to train your ResNet").
    """

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        channels = architecture["shape"][0]
        self.shrink = _pool(nn.AvgPool2d, architecture["average"])
        self.normalise = Normalise(channels)
        stages: list[nn.Module] = []
        for stage in architecture["stages"]:
            width = stage["width"]
            stages += [
                nn.Conv2d(channels, width, 3, stage["stride"], padding=1, bias=False),
                _pool(nn.MaxPool2d, 2 if stage["pool"] else 1),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                *(Residual(width) for _ in range(stage["blocks"])),
            ]
            channels = width
        self.features = nn.Sequential(*stages)
        self.dropout = nn.Dropout(architecture["dropout"])
        self.head = nn.Linear(channels, architecture["classes"])

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) raw pixels to (B, classes) logits."""
        x = self.normalise(self.shrink(images.float()))  # (B, C, h, w)
        x = self.features(x)  # (B, last width, h, w)
        logits: Tensor = self.head(self.dropout(x.mean((2, 3))))  # (B, classes)
        return logits


class Residual(nn.Module):
    """Two convolutions beside the identity: (B, width, h, w) to the same shape.

    The scale of the last normalisation begins at zero, so that every block is the identity at
    first (Goyal et al. 2017, sec. 5.1).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to (B, width, h, w)."""
        change = F.relu(self.first_norm(self.first(x)), inplace=True)  # (B, width, h, w)
        change = self.second_norm(self.second(change))  # (B, width, h, w)
        return F.relu(x + change, inplace=True)


def _pool(kind: type[nn.AvgPool2d] | type[nn.MaxPool2d], side: int) -> nn.Module:
    """Pooling over squares of this side, of which those at the border may be smaller."""
    return kind(side, ceil_mode=True) if side > 1 else nn.Identity()


def multiply_adds(architecture: Mapping[str, Any]) -> int:
    """Multiply-adds that one image costs in convolutions and matrices."""
    channels, *size = architecture["shape"]
    size = [math.ceil(side / architecture["average"]) for side in size]
    total = 0
    for stage in architecture["stages"]:
        width = stage["width"]
        size = [math.ceil(side / stage["stride"]) for side in size]
        total += 9 * math.prod(size) * channels * width
        size = [math.ceil(side / 2) for side in size] if stage["pool"] else size
        total += 2 * 9 * math.prod(size) * width**2 * stage["blocks"]
        channels = width
    total += channels * architecture["classes"]
    return int(total)


def design(configuration: Mapping[str, Any], shape: Sequence[int], classes: int) -> dict[str, Any]:
    """The widest architecture of the configuration's form within its multiply-adds.

    As in `convnet`, every proposal fits the size that it was asked for, whatever the images' is.
    """
    most, best = configuration["multiply_adds"], None
    for base in BASE_WIDTHS:
        candidate = _architecture(configuration, shape, classes, base)
        if best is not None and multiply_adds(candidate) > most:
            break
        best = candidate
    assert best is not None
    _widen(best, most)
    return best


def _widen(architecture: Mapping[str, Any], most: float) -> None:
    """Give what whole registers left over to the last stages, up to twice their width."""
    for stage in reversed(architecture["stages"]):
        widest = 2 * stage["width"]
        while stage["width"] < widest:
            stage["width"] += REGISTER
            if multiply_adds(architecture) > most:
                stage["width"] -= REGISTER
                break


def _architecture(
    configuration: Mapping[str, Any], shape: Sequence[int], classes: int, base: int
) -> dict[str, Any]:
    """The architecture whose first stage has about `base` channels."""
    _, height, width = shape
    shrink = _shrink(configuration["detail"], height, width)
    count = _stages(min(height, width) / shrink)
    pattern = BLOCKS[configuration["blocks"]]
    blocks = [0] * max(0, count - len(pattern)) + list(pattern[-count:])
    widths = [whole(base * configuration["growth"] ** place) for place in range(count)]
    stages = [
        {"width": width, "blocks": number, "stride": 1, "pool": True}
        for width, number in zip(widths, blocks, strict=True)
    ]
    stages[0] |= {"stride": 2 if shrink >= 4 else 1, "pool": shrink >= 2}
    return {
        "kind": "resnet",
        "shape": list(shape),
        "classes": classes,
        "average": max(1, shrink // 4),
        "stages": stages,
        "dropout": configuration["dropout"],
    }


def _shrink(detail: str, height: int, width: int) -> int:
    """Pixels aside that become one before the first stage: a power of two."""
    side, shrink = math.sqrt(height * width), 1
    while side / shrink > _FIRST_SIDES[detail] and min(height, width) / shrink > _SMALLEST_SIDE:
        shrink *= 2
    return shrink


def _stages(side: float) -> int:
    """Stages until no more is to be halved, of which at least one."""
    return 1 if side <= _SMALLEST_SIDE else 1 + _stages(side / 2)
