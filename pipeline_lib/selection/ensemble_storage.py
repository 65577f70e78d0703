"""The ensembles of a run as they are kept: a model's files, and what each member adds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.files import write_whole
from pipeline_lib.run.run import Run
from pipeline_lib.selection import leaderboard as compare
from pipeline_lib.trial import ENSEMBLE, Rung, Trial, TrialState

_FILE = "trial.json"


@dataclass(frozen=True)
class Member:
    """One model of an ensemble, and what it adds."""

    label: str  # of its trial
    title: str
    weight: float  # in (0, 1]
    alone: float  # its own validation accuracy, in [0, 1]
    joined: float  # that of the mixture with it, before the next joins
    temperature: float = (
        1.0  # > 0, which divides its logits; those kept by older versions have none
    )


@dataclass(frozen=True)
class Ensemble:
    """An ensemble of a run, its members in the order in which they joined."""

    trial: Trial
    members: tuple[Member, ...]

    def sentence(self) -> str:
        """What each member adds, in a line."""
        first, *others = (f"{m.title} ({m.weight:.0%}) {m.joined:.2%}" for m in self.members)
        return f"{self.trial.val_accuracy:.2%} on validation: {', with '.join([first, *others])}"

    def as_json(self) -> dict[str, Any]:
        """Plain values for the summary of a run."""
        members = [asdict(member) for member in self.members]
        accuracy = self.trial.val_accuracy
        return {"val_accuracy": accuracy, "members": members, "sentence": self.sentence()}


def save(run: Run, ensemble: Ensemble, sources: Sequence[Path]) -> None:
    """Write its files from its members' directories; what makes it a stored one comes last."""
    from pipeline_lib.models.ensemble import KIND
    from pipeline_lib.models.ensemble import Ensemble as Network
    from pipeline_lib.models.saved import ARCHITECTURE, load_model, save_model

    shares = ([m.weight for m in ensemble.members], [m.temperature for m in ensemble.members])
    described = [
        json.loads((source / ARCHITECTURE).read_text(encoding="utf-8")) for source in sources
    ]
    architecture = {
        "kind": KIND,
        "shape": described[0]["shape"],
        "classes": described[0]["classes"],
        "members": [
            {
                "trial": member.label,
                "weight": member.weight,
                "temperature": member.temperature,
                "architecture": own,
            }
            for member, own in zip(ensemble.members, described, strict=True)
        ],
    }
    directory = _directory(run) / f"{ensemble.trial.number:04d}"
    network = Network([load_model(source) for source in sources], *shares)
    save_model(network, architecture, directory)
    write_whole(directory / _FILE, json.dumps(asdict(ensemble), indent=1) + "\n")


def _directory(run: Run) -> Path:
    return run.home.study(run.name) / ENSEMBLE


def stored(run: Run) -> list[Ensemble]:
    """The ensembles that were built for a run, by number; a continued run may have several.

    Raises:
        ConfigurationError: What is kept of one is damaged.
    """
    return [_read(path) for path in sorted(_directory(run).glob(f"*/{_FILE}"))]


def _read(path: Path) -> Ensemble:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields = kept["trial"]
        changed = {
            "state": TrialState(fields["state"]),
            "rungs": tuple(Rung(**{**rung, "curve": ()}) for rung in fields["rungs"]),
            "model": path.parent,
        }
        members = tuple(Member(**each) for each in kept["members"])
        return Ensemble(Trial(**{**fields, **changed}), members)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError("run", f"cannot be read ({error})", value=str(path)) from error


def leading(run: Run) -> Ensemble | None:
    """The run's best ensemble; None where it has none."""
    by_trial = {each.trial.label: each for each in stored(run)}
    best = compare.best(each.trial for each in by_trial.values())
    return by_trial[best.label] if best else None
