"""What trainings run on: accelerator or CPU, in bfloat16 where that was seen to be faster."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who starts workers has no need of torch itself
    import torch
    from torch import Tensor, nn

_ACCELERATORS = ("cuda", "mps")
_ROUNDS = 8
_PAYS = 1.1  # times as fast bfloat16 must be: the same machine always chooses the same
_BATCH, _CHANNELS, _SIDE = 64, 32, 14  # of the training that is tried


@dataclass(frozen=True)
class Device:
    """A kind of device as torch names it, and whether kernels and matrices multiply in bfloat16.

    Weights, their updates and every evaluation are float32 all the same.
    """

    kind: str = "cpu"
    half: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, {'bfloat16' if self.half else 'float32'}"

    def autocast(self) -> torch.autocast:
        """The context in which a network is asked during training."""
        import torch

        return torch.autocast(self.kind, torch.bfloat16, enabled=self.half)


def choose() -> tuple[Device, str]:
    """The device that trainings take here, and why an accelerator is not used, where it is not.

    A small training is tried on it, in both precisions.
    """
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or found.type not in _ACCELERATORS:
        return Device("cpu", half_pays("cpu")), ""
    try:
        return Device(found.type, half_pays(found.type)), ""
    except RuntimeError as error:
        return Device("cpu", half_pays("cpu")), f"{found.type}: {str(error).splitlines()[0]}"


def half_pays(kind: str) -> bool:
    """Whether a training in bfloat16 is faster than in float32 on this kind of device.

    A CPU without instructions for it is not asked: there it is seven times slower.
    """
    import torch
    from torch import nn

    capable = torch.cpu.get_capabilities()
    if kind == "cpu" and not any("bf16" in name and has for name, has in capable.items()):
        return False
    best = {False: math.inf, True: math.inf}
    network = nn.Sequential(
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False),
        nn.BatchNorm2d(_CHANNELS),
        nn.ReLU(),
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
    )
    network.to(kind).to(memory_format=torch.channels_last)
    images = torch.rand(_BATCH, _CHANNELS, _SIDE, _SIDE, device=kind)  # (B, C, H, W)
    images = images.contiguous(memory_format=torch.channels_last)
    for _ in range(_ROUNDS):  # in turns, so that a busy machine slows both
        for half, least in best.items():
            best[half] = min(least, _step_seconds(network, images, Device(kind, half)))
    return best[True] * _PAYS < best[False]


def _step_seconds(network: nn.Module, images: Tensor, device: Device) -> float:
    began = time.perf_counter()
    network.zero_grad()
    with device.autocast():
        answer = network(images)  # (B, C, H, W)
    answer.float().square().mean().backward()
    _ = [float(p.grad.sum()) for p in network.parameters() if p.grad is not None]  # waits for all
    return time.perf_counter() - began
