"""How long a kept network takes for one image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

_WARM_UP, _TIMED = 5, 30


def milliseconds_per_image(directory: Path, shape: Sequence[int]) -> float:
    """Median milliseconds that the network in a directory takes for one image (C, H, W).

    On one thread, as it was trained; one image at a time, as a server gets them.

    Raises:
        ModelError: The files are not those of a model.
    """
    import torch

    from pipeline_lib.models.saved import load_model

    network = load_model(directory)
    image = torch.zeros(1, *shape)  # (1, C, H, W)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            times = [_seconds(network, image) for _ in range(_WARM_UP + _TIMED)]
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(times[_WARM_UP:])


def _seconds(network: nn.Module, image: Tensor) -> float:
    began = time.perf_counter()
    network(image)
    return time.perf_counter() - began
