"""Fidelities: how many samples each rung trains on, and how long finals may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_lib.trial import Rung

BASE_SAMPLES = 10_000
REDUCTION = 3
SEARCH_SHARE = 1 / 3
"""Share of the budget that the search may spend; finalists train for the rest."""

_SHORT, _LONG = 40.0, 3600.0
"""Budgets below and from which there is a rung less or more. Networks grow along with the budget:
were there more rungs in between, the first trials to climb them would use up the search."""
_PASSES = 8
"""So many passes' worth of samples are enough for a final: three times as many were no better."""
_FINALS_IN_TURN, _LEAST_SECONDS = 4, 200.0
"""So many finals each worker trains at most, and not more than have so long each."""
_MARGIN = 0.97  # of the time left: what a final may plan for; its last evaluation comes after
_FASTER = 2  # than its last rung a final may turn out to be, and still use all its time
_WORTHWHILE = 1.2  # how much longer than its last rung a final must be


@dataclass(frozen=True)
class Final:
    """A training of a finalist: it ends after so many samples or seconds, whichever come first."""

    samples: int
    seconds: float


@dataclass(frozen=True)
class Ladder:
    """Rungs of a search: sample counts in rising order, each a complete training."""

    rungs: tuple[int, ...]
    reduction: int
    has_finals: bool = True

    @classmethod
    def of(
        cls,
        budget_seconds: float,
        train_size: int,
        passes: Sequence[int] = (),
        first_rung: int | None = None,
    ) -> Ladder:
        """The ladder that suits a budget, or that of a family with `passes` of its own."""
        if passes:
            growth = round(passes[1] / passes[0]) if len(passes) > 1 else REDUCTION
            rungs = tuple(count * train_size for count in passes)
            return cls(rungs, max(2, growth), has_finals=False)
        height = 2 if budget_seconds < _SHORT else 3 if budget_seconds < _LONG else 4
        lowest = first_rung or BASE_SAMPLES
        return cls(tuple(lowest * REDUCTION**step for step in range(height)), REDUCTION)

    @property
    def top(self) -> int:
        """Samples at the highest rung."""
        return self.rungs[-1]

    def search_seconds(self, budget_seconds: float) -> float:
        """How long the search may run before finalists get their turn."""
        return budget_seconds * (SEARCH_SHARE if self.has_finals else 1.0)

    def shortest_final(self, budget_seconds: float) -> float:
        """Seconds that a final takes at least, where its budget has room for several in turn."""
        window = budget_seconds - self.search_seconds(budget_seconds)
        return min(window, max(window / _FINALS_IN_TURN, _LEAST_SECONDS))

    def turn(self, reached: Rung, seconds_left: float, shortest: float, train_size: int) -> float:
        """Seconds of the time left that a finalist takes; others in turn take the rest.

        Several that are different are worth more than one that makes more passes than it needs:
        they make an ensemble.
        """
        enough = _PASSES * train_size / reached.samples * reached.seconds
        return seconds_left / max(1, round(seconds_left / max(enough, shortest)))

    def final(self, reached: Rung, seconds_left: float, counted: bool) -> Final | None:
        """How long a finalist trains; None when too little time is left to pay.

        Args:
            reached: Its highest rung in the search; tells its speed.
            seconds_left: Until the deadline.
            counted: The search ended by its count of trials. Then finals have a fixed length, three
                times the top rung, so that the same seed gives the same finals. Otherwise the clock
                leads: a rung that shared its core says little about the speed of what comes now.
        """
        seconds = seconds_left * _MARGIN
        affordable = int(reached.samples / reached.seconds * seconds)
        if affordable < _WORTHWHILE * reached.samples:
            return None
        return Final(REDUCTION * self.top if counted else _FASTER * affordable, seconds)
