"""The contest: each engine's best and the champion, paired on the same validation images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.data.decode import brightness
from pipeline_lib.data.store import SearchData, Split
from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.registry.once import TRIAL_TAG
from pipeline_lib.registry.promotion import Champion, champion
from pipeline_lib.registry.served import Served
from pipeline_lib.selection import leaderboard as compare
from pipeline_lib.selection.calibration import fit_temperature
from pipeline_lib.selection.ensemble import MIXTURES, Candidates
from pipeline_lib.statistics import ALPHA, Comparison, compare_all
from pipeline_lib.trial import ENSEMBLE, Trial

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from pipeline_lib.config import Promote
    from pipeline_lib.selection.folds import Folded

SPLIT_TAG = "split_digest"
CHOSEN_FROM_TAG = "chosen_from"
"""Tags of a model version: the split it was chosen on, and from how many models."""
MEMBERS_TAG = "ensemble"
"""Tag of a model version that is an ensemble: its trials and their weights."""


@dataclass(frozen=True)
class Contest:
    """What the validation images say of the run's best models and the champion."""

    winner: str  # the run's best, as the comparisons call it
    comparisons: tuple[Comparison, ...]
    split_digest: str
    size: int  # validation images
    chosen_from: int  # models the winner was chosen from by validation accuracy
    temperature: float  # that calibrates the winner, fitted on the same images
    brightness: tuple[float, float]  # of nearly all training images
    champion: Champion | None  # before this run; None where there was none
    is_champion: bool = False  # the winner is that champion: the run had registered it before
    not_compared: str = ""  # why the champion takes no part, where it does not
    folded: Folded | None = None  # what folds say, where the configuration asks for them

    @property
    def champion_title(self) -> str:
        """How the comparisons call the champion."""
        return _name(self.champion) if self.champion else ""

    @property
    def against_champion(self) -> Comparison | None:
        """The winner and the champion; None where they cannot be compared."""
        both = {self.winner, self.champion_title}
        return next((c for c in self.comparisons if {c.a, c.b} == both), None)

    @property
    def served(self) -> Served:
        """What the winner is registered with, to answer with calibrated probabilities."""
        return Served(self.temperature, self.brightness)

    def sentences(self) -> list[str]:
        """One sentence a pair, and why the champion is in none of them, if so."""
        said = [comparison.sentence() for comparison in self.comparisons]
        if self.not_compared:
            said.append(f"The {self.champion_title} was not compared: {self.not_compared}")
        return [*said, *self.folded.sentences()] if self.folded else said

    def tags(self, winner: Trial) -> dict[str, str]:
        """What the registry has to know of the winner, for the next contest."""
        tags = {
            SPLIT_TAG: self.split_digest,
            CHOSEN_FROM_TAG: str(self.chosen_from),
            TRIAL_TAG: winner.label,
        }
        if winner.engine == ENSEMBLE:
            members = (f"{name} {weight:.2f}" for name, weight in winner.configuration.items())
            tags[MEMBERS_TAG] = ", ".join(members)
        return tags

    def as_json(self) -> list[dict[str, Any]]:
        """The comparisons as plain values."""
        return [asdict(c) | {"sentence": c.sentence()} for c in self.comparisons]


@dataclass(frozen=True)
class Decision:
    """Whether the winner is to become champion, and why."""

    promote: bool
    why: str


_OTHER_SPLIT = "it was chosen on another split, whose training part may hold these images"


def hold(
    home: Home, run_id: str, candidates: Candidates, winner: Trial, data: SearchData
) -> Contest:
    """Compare the engines' best, the ensemble and the champion on the validation images.

    A champion of another split takes no part: it may have been trained on these images.

    Args:
        home: Where the registry is.
        run_id: The run in MLflow; a champion that comes from it may be the winner itself.
        candidates: All trials of the run, and what some of them answered already.
        winner: The best of them.
        data: Whose split the trials were trained on.
    """
    split, trials, known = data.load(), candidates.trials, candidates.answers
    reigning = champion(home, data.dataset)
    itself = reigning is not None and _is(reigning, winner, run_id)
    finalists = compare.finalists(trials)
    networks = {t.title: _network(t.model) for t in finalists if t.label not in known}
    met = None
    if reigning is not None and not itself:
        met = _champion_network(home, data.dataset, reigning, split)
        if not isinstance(met, str):
            networks[_name(reigning)] = met
    labels = split.labels[split.validation]
    logits = {t.title: known[t.label] for t in finalists if t.label in known}
    logits |= _answers(networks, split)
    right = {name: answers.argmax(1) == labels for name, answers in logits.items()}
    return Contest(
        winner=winner.title,
        comparisons=compare_all(right, labels, data.seed),
        split_digest=split.digest,
        size=len(labels),
        chosen_from=chosen_from(trials),
        temperature=fit_temperature(logits[winner.title], labels),
        brightness=brightness(split.images[split.train]),
        champion=reigning,
        is_champion=itself,
        not_compared=met if isinstance(met, str) else "",
    )


def _answers(networks: Mapping[str, nn.Module], split: Split) -> dict[str, npt.NDArray[np.float32]]:
    """Logits (N, classes) of every network on the validation images."""
    import torch

    from pipeline_lib.training.loop import predict_on_all_cores

    images = torch.from_numpy(split.images[split.validation])  # (N, C, H, W) uint8
    found = {name: predict_on_all_cores(network, images) for name, network in networks.items()}
    return {name: logits.numpy() for name, logits in found.items()}


def decide(rule: Promote, contest: Contest, winner: Trial) -> Decision:
    """Whether the winner becomes champion.

    `never` leaves it to people. Otherwise the first winner becomes champion, and a later one if
    it is better on the same validation images: `better` asks for a higher accuracy,
    `significant` for a difference that is shown. Where the champion was chosen on another split,
    `significant` keeps it and `better` compares the accuracies that each had on its own.
    """
    reigning, pair = contest.champion, contest.against_champion
    if contest.is_champion:
        return Decision(False, "it is champion already")
    if rule == "never":
        return Decision(False, "promote is 'never': `automl promote` makes it champion")
    if reigning is None:
        return Decision(True, "first model")
    if pair is not None:
        return _by_rule(rule, contest, pair, reigning.tags)
    if rule == "significant":
        return Decision(
            False, f"{contest.champion_title} cannot be compared: {contest.not_compared}; "
            "`automl promote` makes the challenger champion"
        )  # fmt: skip
    return _by_records(contest, winner, reigning.tags)


def _by_rule(
    rule: Promote, contest: Contest, pair: Comparison, champion_tags: Mapping[str, str]
) -> Decision:
    ahead = pair.a == contest.winner and pair.difference > 0
    if rule == "better":
        word = "higher" if ahead else "no higher"
        points = f"{100 * pair.difference:.2f} points between them"
        return Decision(ahead, f"its validation accuracy is {word} ({points})")
    tries = _tries(contest, champion_tags)
    if not (ahead and pair.shown):
        return Decision(False, pair.sentence())
    if pair.p * tries >= ALPHA:
        return Decision(
            False, f"{pair.sentence()}, but it is the best of {contest.chosen_from}, {tries} times "
            "as many as the champion was chosen from, and luck alone explains such a best"
        )  # fmt: skip
    return Decision(True, pair.sentence())


def _tries(contest: Contest, champion_tags: Mapping[str, str]) -> int:
    """How many times the winner's field holds the field that the champion was the best of.

    Both were chosen by accuracy on these images, so both look better than they are; the best of
    more looks better still. Split into fields as large as the champion's, the run had so many
    tries at beating it by luck: Bonferroni's bound over them keeps false promotions rare.
    """
    field = max(int(champion_tags.get(CHOSEN_FROM_TAG, 1)), 1)
    return max(math.ceil(contest.chosen_from / field), 1)


def _by_records(contest: Contest, winner: Trial, champion_tags: Mapping[str, str]) -> Decision:
    own, other = winner.val_accuracy or 0.0, float(champion_tags.get("val_accuracy", 0.0))
    word = "more than" if own > other else "no more than"
    why = f"{own:.2%} on its validation images, {word} the {other:.2%} of {contest.champion_title}"
    return Decision(own > other, f"{why} on those of another split")


def chosen_from(trials: Iterable[Trial]) -> int:
    """How many models the best of these trials is the best of.

    Every trial that could have won counts, however it ended, and for an ensemble every mixture
    that was scored.
    """
    return sum(int(trial.notes.get(MIXTURES, 1)) for trial in compare.ranked(trials))


def _network(directory: Path | None) -> nn.Module:
    from pipeline_lib.models.saved import load_model

    assert directory is not None
    return load_model(directory)


def _champion_network(
    home: Home, dataset: str, reigning: Champion, split: Split
) -> nn.Module | str:
    """The champion, or why it cannot be compared. The run goes on without it."""
    from pipeline_lib.registry.versions import load_champion, model_name

    if reigning.tags.get(SPLIT_TAG) != split.digest:
        return _OTHER_SPLIT
    try:
        return load_champion(home, f"models:/{model_name(dataset)}/{reigning.version}").module
    except ModelError as error:
        return str(error)


def _is(reigning: Champion, winner: Trial, run_id: str) -> bool:
    return (reigning.run_id, reigning.tags.get(TRIAL_TAG)) == (run_id, winner.label)


def _name(reigning: Champion) -> str:
    return f"champion v{reigning.version}"
