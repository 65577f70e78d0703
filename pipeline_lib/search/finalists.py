"""Which configurations are retrained for longer, and which families are worth more trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipeline_lib.trial import Trial, by_regret

_RATIO = 1.5  # worst regret, relative to the best, of a trial that is retrained for diversity
_BEHIND = 2.0  # regret, relative to the best family's, of one that gets no more trials
_FEWEST = 3

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Finalist:
    """A trial whose configuration is retrained, and the variant of it that is trained."""

    trial: Trial
    name: str = ""  # of the boolean hyperparameter that tells variants apart; "" where none does
    variant: bool = False  # its value

    @property
    def uses_other_variant(self) -> bool:
        """Whether the trial itself was of the other variant."""
        return self.variant != variant_of(self.trial, self.name)


def variant_of(trial: Trial, name: str) -> bool:
    """The variant of a trial; short budgets' spaces may have no such choice."""
    return bool(trial.configuration.get(name))


def next_finalist(
    searched: Sequence[Trial], finalists: Sequence[Finalist], variants: Mapping[str, str]
) -> Finalist | None:
    """The best trial without a final in the family and variant that have the fewest finals.

    Networks of another variant, or of another family, make other errors. A search may settle on
    one variant: where good trials of the other are used up, the best trials of all are retrained
    as it. A family or variant whose best trial is clearly worse is not retrained.

    Args:
        searched: Trials of the search that have a rung.
        finalists: Those that have a final.
        variants: By family, the name of the hyperparameter that tells its variants apart.
    """
    groups: dict[tuple[str, bool], list[Trial]] = {}
    for trial in sorted(searched, key=by_regret):
        own = variant_of(trial, variants[trial.family])
        groups.setdefault((trial.family, own), []).append(trial)
    finals = Counter((each.trial.family, each.variant) for each in finalists)
    taken = {(each.trial.number, each.variant) for each in finalists}
    worst = _RATIO * min(map(by_regret, searched), default=0.0)
    for family, variant in sorted(close_to_best(groups, _RATIO), key=lambda each: finals[each]):
        found = max(
            (
                Finalist(trial, variants[family], variant)
                for trial in searched
                if trial.family == family and (trial.number, variant) not in taken
            ),
            key=lambda it: (
                not it.uses_other_variant and by_regret(it.trial) <= worst,
                -by_regret(it.trial),
            ),
            default=None,
        )
        if found is not None:
            return found
    return None


def close_to_best(groups: Mapping[Key, Sequence[Trial]], ratio: float) -> list[Key]:
    """Groups of trials whose best regret is at most `ratio` times that of the best group.

    They are compared at the highest rung that all of them reached; a group whose rungs are all
    above it is judged by its lowest.
    """
    if not groups:
        return []
    met = min(max(trial.rungs[-1].samples for trial in trials) for trials in groups.values())
    regrets = {
        key: min(
            (rung.regret for trial in trials for rung in trial.rungs if rung.samples <= met),
            default=min(trial.rungs[0].regret for trial in trials),
        )
        for key, trials in groups.items()
    }
    return [key for key in groups if regrets[key] <= ratio * min(regrets.values())]


def clearly_behind(found: Mapping[str, Sequence[Trial]]) -> set[str]:
    """Families whose best regret is more than twice that of the best family.

    Args:
        found: By family its trials that have a rung; fewer than three of them prove nothing.
    """
    judged = {family: trials for family, trials in found.items() if len(trials) >= _FEWEST}
    return judged.keys() - set(close_to_best(judged, _BEHIND))
