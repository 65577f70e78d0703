"""Fidelities: how many samples each rung trains on, and how long finals may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline_lib.trial import Rung, Trial, by_regret

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
_AS_GOOD = 1.5  # times the regret of the best: a final may be of such a one for the sake of variety


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
        cls, space: str, budget_seconds: float, train_size: int, first_rung: int | None = None
    ) -> Ladder:
        """The ladder that suits a budget; the chapter's space has its two epochs and no finals."""
        if space == "book":
            return cls((train_size, 2 * train_size), 2, has_finals=False)
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


@dataclass(frozen=True)
class Finalist:
    """Whose configuration a final trains, and whether it sees images upright."""

    trial: Trial
    upright: bool

    @property
    def is_otherwise(self) -> bool:
        """Whether the final sees images as the trial did not."""
        return self.upright != _way(self.trial)


def next_finalist(searched: Sequence[Trial], finalists: Sequence[Finalist]) -> Finalist | None:
    """The best that has no final yet which sees images as the fewest finals do; None after all.

    Networks that see images otherwise err on other images (decision 14). A search may settle on
    one way: where good trials of the other are used up, its finals are of the best trials of all.
    A way that is far behind gets none.

    Args:
        searched: Trials of the search that have a rung.
        finalists: Those that have a final, and how it sees images.
    """
    if not searched:
        return None
    finals = Counter(each.upright for each in finalists)
    taken = {(each.trial.number, each.upright) for each in finalists}
    way = min(_good_ways(searched), key=lambda each: finals[each])
    rest = [trial for trial in searched if (trial.number, way) not in taken]
    worst = _AS_GOOD * min(map(by_regret, searched))
    return max(
        (Finalist(trial, way) for trial in rest),
        key=lambda it: (not it.is_otherwise and by_regret(it.trial) <= worst, -by_regret(it.trial)),
        default=None,
    )


def _good_ways(searched: Sequence[Trial]) -> list[bool]:
    """Ways to see images, the best first, without those that are far worse at the same rung."""
    ways: dict[bool, list[Trial]] = {}
    for trial in sorted(searched, key=by_regret):
        ways.setdefault(_way(trial), []).append(trial)
    met = min(max(trial.rungs[-1].samples for trial in trials) for trials in ways.values())
    regrets = {
        way: min(rung.regret for t in trials for rung in t.rungs if rung.samples <= met)
        for way, trials in ways.items()
    }
    return [way for way in ways if regrets[way] <= _AS_GOOD * min(regrets.values())]


def _way(trial: Trial) -> bool:
    return bool(trial.configuration.get("upright"))  # short budgets' spaces have no such choice
