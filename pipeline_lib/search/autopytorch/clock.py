"""How many epochs an evaluation can still have before the search must end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_MARGIN = 1.15


@dataclass
class Clock:
    """Learns from finished evaluations what the next one takes.

    An evaluation that is cut short at the end has not had its schedule, so it gets the epochs that
    fit, or is not started.

    Attributes:
        deadline: `time.monotonic()` at which the search ends.
        min_epochs: Fewer are not worth a start.
    """

    deadline: float
    min_epochs: int
    _paces: dict[int, tuple[float, float]] = field(default_factory=dict)

    def learn(self, configuration: int, seconds: float, curve: Sequence[Mapping[str, Any]]) -> None:
        """Take in what an evaluation took, and the seconds of epochs of it, the last among them."""
        if curve:
            an_epoch = sum(point["seconds"] for point in curve) / len(curve)
            overhead = max(0.0, seconds - an_epoch * curve[-1]["epoch"])
            self._paces[configuration] = (an_epoch, overhead)

    def epochs_that_fit(self, configuration: int, wanted: int) -> int:
        """As many epochs as are wanted or fit; 0 when fewer than `min_epochs` fit."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            return 0
        if not self._paces:
            return wanted
        an_epoch, overhead = self._paces.get(configuration) or _slow(self._paces)
        fitting = int((left / _MARGIN - overhead) / an_epoch)
        return 0 if fitting < self.min_epochs else min(wanted, fitting)


def _slow(paces: Mapping[int, tuple[float, float]]) -> tuple[float, float]:
    """The pace that three of four configurations keep."""
    ordered = sorted(paces.values())
    return ordered[(3 * len(ordered)) // 4] if len(ordered) > 1 else ordered[0]
