"""The learning rate over a training; shared with Auto-PyTorch's trainings, so without torch."""

from __future__ import annotations

import math

WARM_UP = 0.2
_LEAST = 0.02  # where a rise begins: at 0 the first batch would teach nothing


def one_cycle(progress: float, warm_up: float = WARM_UP) -> float:
    """Share of the peak learning rate at a progress in [0, 1]: a linear rise, then a cosine.

    Smith & Topin 2018. `warm_up` is the share of the training over which the rate rises.
    """
    if progress < warm_up:
        return max(progress / warm_up, _LEAST)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))
