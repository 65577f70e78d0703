"""What a run found, as values: what selection decides, the registry keeps and the report tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.statistics import Comparison, FoldComparison
from pipeline_lib.test_result import TestResult
from pipeline_lib.trial import Trial

_NOT_NEW = (
    "The folds hold the validation images by which these models were chosen, so the values are "
    "optimistic and part of a difference may be that of the choice: folds show whether one "
    "configuration trains to a better model than another on these images, not how well it does "
    "on new ones"
)


@dataclass(frozen=True)
class Member:
    """One model of an ensemble, and what it adds."""

    label: str  # of its trial
    title: str
    weight: float  # in (0, 1]
    alone: float  # its own value on validation
    joined: float  # that of the ensemble with it, before the next joins
    temperature: float = 1.0  # > 0, divides its logits; older records have none


@dataclass(frozen=True)
class Ensemble:
    """An ensemble of a run, its members in the order in which they joined."""

    trial: Trial
    members: tuple[Member, ...]

    def sentence(self) -> str:
        """What each member adds, in a line."""
        text = self.trial.metric.text
        first, *others = (f"{m.title} ({m.weight:.0%}) {text(m.joined)}" for m in self.members)
        return f"{self.trial.text} on validation: {', with '.join([first, *others])}"

    def as_json(self) -> dict[str, Any]:
        """Plain values for the summary of a run."""
        members = [asdict(member) for member in self.members]
        return {**validation(self.trial), "members": members, "sentence": self.sentence()}


def validation(trial: Trial) -> dict[str, Any]:
    """What a trial is worth on validation, as JSON values: its metric's value, and accuracy."""
    return {
        "metric": trial.metric.name,
        "value": trial.value,
        "text": trial.text,
        "val_accuracy": trial.accuracy,
    }


@dataclass(frozen=True)
class Champion:
    """A version that is or may become champion, and what was written down when it was made."""

    version: int
    run_id: str
    tags: Mapping[str, str]

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"champion v{self.version}"


@dataclass(frozen=True)
class Folded:
    """What the folds say, and who is left out of it."""

    comparisons: tuple[FoldComparison, ...] = ()
    left_out: tuple[str, ...] = ()  # a sentence each

    def sentences(self) -> list[str]:
        """One sentence a pair, what such comparisons cannot show, and who is left out and why."""
        said = [comparison.sentence() for comparison in self.comparisons]
        return [*said, *([_NOT_NEW] if said else []), *self.left_out]


@dataclass(frozen=True)
class ComparisonResult:
    """What the validation images say of the run's best models and the champion."""

    winner: str  # the run's best, as the comparisons call it
    comparisons: tuple[Comparison, ...]
    split_digest: str
    size: int  # validation images
    chosen_from: int  # models the winner was chosen from by their values on validation
    temperature: float  # that calibrates the winner, fitted on the same images
    brightness: tuple[float, float]  # of nearly all training images
    champion: Champion | None  # before this run; None where there was none
    is_champion: bool = False  # the winner is that champion: the run had registered it before
    not_compared: str = ""  # why the champion takes no part, where it does not
    folded: Folded | None = None  # what folds say, where the configuration asks for them
    lineage: str = ""  # of the split, where it has one

    @property
    def champion_title(self) -> str:
        """How the comparisons call the champion."""
        return self.champion.title if self.champion else ""

    @property
    def against_champion(self) -> Comparison | None:
        """The winner and the champion; None where they cannot be compared."""
        both = {self.winner, self.champion_title}
        return next((c for c in self.comparisons if {c.a, c.b} == both), None)

    def sentences(self) -> list[str]:
        """One sentence a pair, and why the champion is in none of them, if so."""
        said = [comparison.sentence() for comparison in self.comparisons]
        if self.not_compared:
            said.append(f"The {self.champion_title} was not compared: {self.not_compared}")
        return [*said, *self.folded.sentences()] if self.folded else said

    def as_json(self) -> list[dict[str, Any]]:
        """The comparisons as plain values."""
        return [
            asdict(c) | {"metric": c.metric.name, "sentence": c.sentence()}
            for c in self.comparisons
        ]


@dataclass(frozen=True)
class Decision:
    """Whether the winner is to become champion, and why."""

    promote: bool
    why: str


@dataclass(frozen=True)
class Choice:
    """The winner, what it was compared with, and what follows from that."""

    winner: Trial
    compared: ComparisonResult
    decision: Decision  # whether it is to become champion
    untested: str  # why the test set stays closed for it; empty where it is to be opened


@dataclass(frozen=True)
class Registration:
    """What became of the winner in the registry."""

    version: int
    model: str | None  # address of the champion, where the winner is it
    challenger: str | None  # address of the winner, where it is not
    why: str  # it is champion, or not

    @property
    def address(self) -> str:
        """The winner's `models:/…` address."""
        return self.model or self.challenger or ""


@dataclass(frozen=True)
class Findings:
    """All that a run found out."""

    name: str  # of the run
    config: RunConfig
    trials: list[Trial]
    ensemble: Ensemble | None  # the best of the run's own, where it has any
    choice: Choice
    test: TestResult | None  # None where the winner was never measured on the test set
    registration: Registration

    @property
    def winner(self) -> Trial:
        """The best trial on validation."""
        return self.choice.winner

    @property
    def compared(self) -> ComparisonResult:
        """What it was compared with."""
        return self.choice.compared

    @property
    def untested(self) -> str:
        """Why there are no test figures; empty where there are."""
        return "" if self.test else self.choice.untested
