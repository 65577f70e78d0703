"""The comparison: each engine's best and the champion, paired on the same validation images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.data.decode import brightness
from pipeline_lib.data.splits import Split
from pipeline_lib.outcome import Champion, ComparisonResult, Decision
from pipeline_lib.registry.once import TRIAL_TAG
from pipeline_lib.registry.versions import METRIC_TAG
from pipeline_lib.resampling import ALPHA
from pipeline_lib.selection import leaderboard
from pipeline_lib.selection.calibration import fit_temperature
from pipeline_lib.selection.ensemble import MIXTURES, Candidates
from pipeline_lib.statistics import Comparison, Paired, Units
from pipeline_lib.tracking.trials import val_name
from pipeline_lib.trial import ENSEMBLE, Trial, by_regret

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from pipeline_lib.config import Promote

SPLIT_TAG = "split_digest"
LINEAGE_TAG = "split_lineage"
CHOSEN_FROM_TAG = "chosen_from"
"""Tags of a model version: the split it was chosen on, and from how many models."""
MEMBERS_TAG = "ensemble"
"""Tag of a model version that is an ensemble: its trials and their weights."""


@dataclass(frozen=True)
class CurrentChampion:
    """The champion as a run meets it, with its network where it can be compared."""

    champion: Champion
    network: nn.Module | None = None
    not_compared: str = ""  # why there is no network
    is_winner: bool = False  # the run had registered its winner before: it is this champion


def compare(
    candidates: Candidates, winner: Trial, split: Split, current_champion: CurrentChampion | None
) -> ComparisonResult:
    """Compare the engines' best, the ensemble and the champion on the validation images.

    Args:
        candidates: All trials of the run, and what some of them answered already.
        winner: The best of them.
        split: What the trials were trained on.
        current_champion: The champion; None where there is none yet.
    """
    trials, known = candidates.trials, candidates.answers
    finalists = leaderboard.finalists(trials)
    networks = {t.title: _network(t.model) for t in finalists if t.label not in known}
    if current_champion is not None and current_champion.network is not None:
        networks[current_champion.champion.title] = current_champion.network
    labels = split.validation_targets
    logits = {t.title: known[t.label] for t in finalists if t.label in known}
    logits |= _answers(networks, split)
    paired = Paired(logits, labels, winner.metric, split.seed, _strict(trials, current_champion))
    return ComparisonResult(
        winner=winner.title,
        comparisons=paired.all_pairs(),
        split_digest=split.digest,
        lineage=split.lineage,
        size=len(labels),
        chosen_from=chosen_from(trials),
        temperature=fit_temperature(logits[winner.title], labels),
        brightness=brightness(split.examples, split.train),
        champion=current_champion.champion if current_champion else None,
        is_champion=current_champion.is_winner if current_champion else False,
        not_compared=current_champion.not_compared if current_champion else "",
    )


def _strict(trials: list[Trial], current_champion: CurrentChampion | None) -> dict[str, int]:
    """What p-values of pairs with the champion are multiplied by."""
    if current_champion is None:
        return {}
    return {
        current_champion.champion.title: _tries(chosen_from(trials), current_champion.champion.tags)
    }


def tags(compared: ComparisonResult, winner: Trial) -> dict[str, str]:
    """What the registry has to know of a winner, for the next comparison."""
    found = {
        SPLIT_TAG: compared.split_digest,
        CHOSEN_FROM_TAG: str(compared.chosen_from),
        TRIAL_TAG: winner.label,
        METRIC_TAG: winner.metric.name,
    }
    if compared.lineage:
        found[LINEAGE_TAG] = compared.lineage
    if winner.engine == ENSEMBLE:
        members = (f"{name} {weight:.2f}" for name, weight in winner.configuration.items())
        found[MEMBERS_TAG] = ", ".join(members)
    return found


def never_trained_on(known: Mapping[str, str], split: Split) -> bool:
    """Whether a version with these tags was trained on none of a split's validation images."""
    same_rows = known.get(SPLIT_TAG) == split.digest
    return same_rows or bool(split.lineage and known.get(LINEAGE_TAG) == split.lineage)


def _answers(networks: Mapping[str, nn.Module], split: Split) -> dict[str, npt.NDArray[np.float32]]:
    """Logits (N, classes) of every network on the validation images."""
    from pipeline_lib.training.loop import batches, predict_on_all_cores

    return {
        name: predict_on_all_cores(network, batches(split.examples, split.validation)).numpy()
        for name, network in networks.items()
    }


def decide(rule: Promote, compared: ComparisonResult, winner: Trial) -> Decision:
    """Whether the winner becomes champion.

    `never` leaves it to people. Otherwise the first winner becomes champion, and a later one if
    it is better on the same validation images by today's metric, whatever the champion was chosen
    by: `better` asks for a better value, `significant` for a difference that is shown. Where the
    champion was chosen on another split, `significant` keeps it and `better` compares the values
    that each had on its own.
    """
    current_champion, pair = compared.champion, compared.against_champion
    if compared.is_champion:
        return Decision(False, "it is champion already")
    if rule == "never":
        return Decision(False, "promote is 'never': `automl promote` makes it champion")
    if current_champion is None:
        return Decision(True, "first model")
    if pair is not None:
        return _by_rule(rule, compared, pair, current_champion.tags)
    if rule == "significant":
        return Decision(
            False, f"{compared.champion_title} cannot be compared: {compared.not_compared}; "
            "`automl promote` makes the challenger champion"
        )  # fmt: skip
    return _by_records(compared, winner, current_champion.tags)


def _by_rule(
    rule: Promote, compared: ComparisonResult, pair: Comparison, champion_tags: Mapping[str, str]
) -> Decision:
    ahead = pair.a == compared.winner and pair.difference > 0
    if rule == "better":
        word = "better" if ahead else "no better"
        apart = f"{Units(pair.metric).amount(pair.difference)} between them"
        return Decision(ahead, f"its validation {pair.metric.title} is {word} ({apart})")
    tries = _tries(compared.chosen_from, champion_tags)
    if not (ahead and pair.shown):
        return Decision(False, pair.sentence())
    if pair.p * tries >= ALPHA:
        return Decision(
            False, f"{pair.sentence()}, but it is the best of {compared.chosen_from}, {tries} "
            "times as many as the champion was chosen from, and luck alone explains such a best"
        )  # fmt: skip
    return Decision(True, pair.sentence())


def _tries(chosen_from: int, champion_tags: Mapping[str, str]) -> int:
    """How many times the winner's field holds the field that the champion was the best of.

    Both were chosen by their values on these images, so both look better than they are; the best of
    more looks better still. Split into fields as large as the champion's, the run had so many
    tries at beating it by luck: Bonferroni's bound over them keeps false promotions rare.
    """
    field = max(int(champion_tags.get(CHOSEN_FROM_TAG, 1)), 1)
    return max(math.ceil(chosen_from / field), 1)


def _by_records(
    compared: ComparisonResult, winner: Trial, champion_tags: Mapping[str, str]
) -> Decision:
    metric = winner.metric
    known = champion_tags.get(val_name(metric))
    if known is None:
        return Decision(
            False, f"{compared.champion_title} was chosen by another metric on another split: its "
            f"{metric.title} is not known; `automl promote` makes the challenger champion"
        )  # fmt: skip
    ahead = by_regret(winner) < metric.regret(float(known))
    word, other = "better than" if ahead else "no better than", metric.text(float(known))
    own = f"{winner.text} on its validation images"
    why = f"{own}, {word} the {other} of {compared.champion_title} on those of another split"
    return Decision(ahead, why)


def chosen_from(trials: Iterable[Trial]) -> int:
    """How many models the best of these trials is the best of.

    Every trial that could have won counts, however it ended, and for an ensemble every mixture
    that was scored.
    """
    return sum(int(trial.notes.get(MIXTURES, 1)) for trial in leaderboard.ranked(trials))


def _network(directory: Path | None) -> nn.Module:
    from pipeline_lib.models.saved import load_model

    assert directory is not None
    return load_model(directory)
