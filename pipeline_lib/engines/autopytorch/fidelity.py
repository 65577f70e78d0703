"""How many epochs Hyperband gives an evaluation, least and most."""

from __future__ import annotations

ETA = 3
_SECONDS_PER_SAMPLE = 6e-5
"""What a network of the default space takes for one training sample on one core, about."""
_ROOM = 12
"""So many of the longest trainings should fit into a budget."""


def epochs_for(budget_seconds: float, train_size: int) -> tuple[int, int]:
    """The epochs of the lowest and the highest rung for a budget.

    Two rungs, or three when the budget has room: 1 and 3, … 2, 6 and 18, … 6, 18 and 54.
    """
    affordable = budget_seconds / _ROOM / (train_size * _SECONDS_PER_SAMPLE)
    rungs = 1 if affordable < 2 * ETA**2 else 2
    lowest = max(1, min(6, int(affordable / ETA**rungs)))
    return lowest, lowest * ETA**rungs
