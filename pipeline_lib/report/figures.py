"""Figures as plotly.js takes them, without colours of their own.

A colour is written as a token, `@accent`; the page puts in what light, dark or paper asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline_lib.formats import percent, rounded
from pipeline_lib.metrics import Metric

Figure = dict[str, Any]

ACCENT, INK, MUTED, FAINT = "@accent", "@ink", "@muted", "@faint"
_LEAST_ERROR = 1e-4
_COARSE, _FINE = (5, 2, 1), (7, 5, 4, 3, 2, 1.5, 1)


@dataclass(frozen=True)
class Chart:
    """One figure and its words. `summary` says what it shows to those who cannot see it."""

    key: str
    title: str
    summary: str
    figure: Figure
    height: int = 380  # CSS pixels
    small: bool = False  # one of several in a row
    least_width: int = 0  # CSS pixels below which it scrolls
    note: str = ""


def error(accuracy: float) -> float:
    """Share of wrong answers, never 0: what a logarithmic axis can show."""
    return max(1.0 - accuracy, _LEAST_ERROR)


def height(metric: Metric, value: float) -> float:
    """Where a value stands on a `value_axis`."""
    return error(value) if metric.is_share else value


def value_axis(metric: Metric, values: Iterable[float]) -> Figure:
    """A y axis of a metric on validation, the best on top.

    It reaches from the best of the values down to what nine tenths of them reach: a chart is about
    the good ones.
    """
    found, title = sorted(values, key=metric.regret), f"validation {metric.title}"
    if metric.is_share:
        return _share_axis(found, title)
    best = found[0] if found else metric.perfect
    worst = found[min(len(found) - 1, int(len(found) * 0.9))] if found else best
    room = 0.06 * (best - worst or 1.0)
    return {"range": [worst - room, best + room], "title": {"text": title}}


def _share_axis(shares: list[float], title: str) -> Figure:
    """An axis that spreads 98, 99 and 99.5 % as far apart as their errors are.

    Values on it are errors, on a reversed logarithmic scale.
    """
    errors = [error(share) for share in shares]
    best = errors[0] if errors else 0.01
    worst = errors[min(len(errors) - 1, int(len(errors) * 0.9))] if errors else 0.5
    low, high = math.log10(best) - 0.08, math.log10(max(worst, best * 2.5)) + 0.06
    shown = _between(_COARSE, low, high)
    if len(shown) < 3:
        shown = _between(_FINE, low, high)
    return {
        "type": "log",
        "range": [min(high, 0.0), low],
        "tickvals": shown,
        "ticktext": [percent(1 - tick) for tick in shown],
        "title": {"text": title},
    }


def log_axis(values: Iterable[float], title: str = "", labels: int = 6) -> Figure:
    """A logarithmic x axis with one to so many labels: powers of ten, or in between."""
    low, high = min(values := list(values)), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tenths = [tenth / 10 for tenth in range(10, 100)]  # one at least is near any value
    for steps in ((1,), (1, 2, 5), range(1, 10), tenths):
        ticks = [step * 10.0**power for power in powers for step in steps]
        shown = [tick for tick in ticks if low / 1.1 <= tick <= high * 1.1]
        if len(shown) > 2:
            break
    shown = shown[:: math.ceil(len(shown) / labels)]
    return {
        "type": "log",
        "range": [math.log10(low) - 0.06, math.log10(high) + 0.06],
        "tickvals": shown,
        "ticktext": [rounded(tick) for tick in shown],
        "tickangle": 0,
        "title": {"text": title},
    }


def _between(steps: tuple[float, ...], low: float, high: float) -> list[float]:
    ticks = [step * 10.0**power for power in range(0, -5, -1) for step in steps]
    return [tick for tick in ticks if low <= math.log10(tick) <= high and tick < 1]
