"""Fidelities: how many samples each rung trains on, and how long finals may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline_lib.trial import Rung

REDUCTION = 3
SECONDS_PER_SAMPLE = 1.2e-4
"""What a small network takes for a training sample on one core, where none was timed."""
SEARCH_SHARE = 1 / 3
"""Share of the budget that the search may spend; finalists train for the rest."""

ENOUGH_SAMPLES = 20_000
"""After so many training samples configurations can be told apart, whatever the data; a search of
less than `_ENOUGH_SECONDS` makes do with fewer in proportion."""
_ENOUGH_SECONDS = 300.0
MOST_PASSES = 50  # of the first rung: small data are learned by heart long before
_AT_TOP = 3  # trials at least that are to reach the highest rung
_BRACKETS = 3  # of such a size that a search should have room for before its rungs grow
_SHORT, _LONG = 40.0, 3600.0
"""Budgets below and from which there is at most a rung less or one more."""
_PASSES = 8
"""So many passes' worth of samples are enough for a final: three times as many were no better."""
_FINALS_IN_TURN, _LEAST_SECONDS = 4, 200.0
"""So many finals each worker trains at most, and not more than have so long each."""
_MARGIN = 0.97  # of the time left: what a final may plan for; its last evaluation comes after
_FASTER = 2  # than its last rung a final may turn out to be, and still use all its time
_WORTHWHILE = 1.2  # how much longer than its last rung a final must be


def most_rungs(budget_seconds: float) -> int:
    """How many rungs a budget has room for at most.

    Networks grow along with the budget: were there more rungs in between, the first trials to climb
    them would use up the search.
    """
    return 2 if budget_seconds < _SHORT else 3 if budget_seconds < _LONG else 4


def _enough(budget_seconds: float, least: int) -> int:
    """Samples from which on a rung tells configurations apart as far as the budget asks."""
    share = min(1.0, budget_seconds / _ENOUGH_SECONDS)
    return max(least, int(ENOUGH_SAMPLES * share), 1)


def _bracket(height: int) -> int:
    """First rungs' worth of samples that a bracket costs: each of its rungs costs as much."""
    return _AT_TOP * int(REDUCTION ** (height - 1)) * height


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
    def of_passes(cls, passes: Sequence[int], train_size: int) -> Ladder:
        """The rungs that a family asks for, in passes over the training part; without finals."""
        growth = round(passes[1] / passes[0]) if len(passes) > 1 else REDUCTION
        rungs = tuple(count * train_size for count in passes)
        return cls(rungs, max(2, growth), has_finals=False)

    @classmethod
    def rising(cls, lowest: int, height: int) -> Ladder:
        """So many rungs, each of three times the samples of the one before."""
        return cls(tuple(lowest * REDUCTION**step for step in range(height)), REDUCTION)

    @classmethod
    def counted(
        cls, budget_seconds: float, train_size: int, least: int = 0, first_rung: int | None = None
    ) -> Ladder:
        """The ladder of a search that a number of trials ends: no clock has a say in it.

        Args:
            budget_seconds: As configured.
            train_size: Training examples, ≥ 1.
            least: Samples that the family is known to need for its first rung.
            first_rung: Samples of the first rung, where the user gives them.
        """
        lowest = first_rung or min(_enough(budget_seconds, least), MOST_PASSES * train_size)
        return cls.rising(lowest, most_rungs(budget_seconds))

    @classmethod
    def of_room(cls, budget_seconds: float, train_size: int, room: float, least: int = 0) -> Ladder:
        """The ladder of a search that the clock ends, with room for so many training samples.

        It has as many rungs as let three trials reach the highest one. The first rung is a pass
        or enough samples to tell configurations apart at least, and grows with the room, up to a
        pass, or fifty of small data.
        """
        low = min(_enough(budget_seconds, least), train_size)
        high = max(min(MOST_PASSES * train_size, ENOUGH_SAMPLES), train_size, low)
        heights = range(most_rungs(budget_seconds), 0, -1)
        height = next((h for h in heights if low * _bracket(h) <= room), 1)
        grown = room / (_BRACKETS * _bracket(height))
        lowest = min(max(grown, low), high, max(room / _AT_TOP, 1))
        return cls.rising(int(lowest), height)

    def as_json(self) -> dict[str, Any]:
        """Plain values, of which `from_json` makes the same ladder."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Ladder:
        """The ladder that `as_json` gave these values."""
        return cls(**{**fields, "rungs": tuple(fields["rungs"])})

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
