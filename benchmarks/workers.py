"""Part 6: two workers against one, on the same configurations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.replay import random_configurations, replay, spread
from benchmarks.results import Bench, Result, Table


@dataclass(frozen=True)
class Size:
    """How many configurations, samples for each, and how often one and two take turns."""

    configurations: int
    samples: int
    repeats: int


FULL = Size(configurations=40, samples=10_000, repeats=3)
SHORT = Size(configurations=8, samples=5000, repeats=1)


def measure(bench: Bench, size: Size) -> Result:
    """One worker, two workers, one worker, …"""
    drawn = random_configurations(size.configurations, seed=0)
    climbs = [replace(climb, samples=(size.samples,)) for climb in drawn]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(size.repeats):
        for workers, taken in seconds.items():
            taken.append(replay(bench.split, climbs, workers).seconds)
    hourly = {n: [3600 * len(climbs) / s for s in taken] for n, taken in seconds.items()}
    return {
        "trials_per_hour": {str(n): spread(rates) for n, rates in hourly.items()},
        "two_against_one": spread([b / a for a, b in zip(hourly[1], hourly[2], strict=True)]),
    }


def table(result: Result) -> Table:
    """Rates, and their ratio."""
    rates = result["trials_per_hour"]
    rows = [[n, f"{rate['median']:.0f}", ""] for n, rate in rates.items()]
    rows[-1][-1] = "{median:.2f} ({min:.2f} … {max:.2f})".format(**result["two_against_one"])
    return ["workers", "trials an hour", "two against one"], rows
