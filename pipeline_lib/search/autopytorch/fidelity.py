"""How many epochs Hyperband gives an evaluation, least and most."""

from __future__ import annotations

ETA = 3
"""Hyperband keeps one in so many configurations at each rung; Auto-PyTorch's own value."""
SECONDS_PER_SAMPLE = 9e-5
"""What a network of the default space takes for one training sample on one core, about."""
_ROOM = 16
"""So many of the longest trainings should fit into what the cores have together."""
_SHORTEST = 6
"""Epochs of the lowest rung at most: more say little about which configuration is better."""


def epochs_for(core_seconds: float, train_size: int) -> tuple[int, int]:
    """The epochs of the lowest and the highest rung for seconds of budget times workers.

    One rung apart, or two when there is room: 1 and 3, … 2 and 6, … 5, 15 and 45, 6, 18 and 54.
    """
    affordable = core_seconds / _ROOM / (train_size * SECONDS_PER_SAMPLE)
    steps = 1 if affordable < 2 * ETA**2 else 2
    lowest = max(1, min(_SHORTEST, int(affordable / ETA**steps)))
    return lowest, lowest * ETA**steps
