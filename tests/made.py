"""Values that many tests need."""

from __future__ import annotations

from pipeline_lib.metrics import ACCURACY
from pipeline_lib.trial import Epoch, Rung


def made_rung(
    samples: int, accuracy: float, seconds: float = 1.0, curve: tuple[Epoch, ...] = ()
) -> Rung:
    """A rung of a search for accuracy."""
    return Rung.of(ACCURACY, samples, {ACCURACY.name: accuracy}, seconds, curve)
