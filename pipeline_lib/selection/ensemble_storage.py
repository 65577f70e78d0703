"""The ensembles of a run as they are kept: a model's files, and what each member adds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.outcome import Ensemble, Member
from pipeline_lib.selection import leaderboard
from pipeline_lib.trial import ENSEMBLE, Trial, thaw

if TYPE_CHECKING:
    from torch import nn

_FILE = "trial.json"


@dataclass(frozen=True)
class Ensembles:
    """The ensembles of one study, kept in a directory."""

    study: str
    directory: Path

    @classmethod
    def of(cls, home: Home, study: str) -> Ensembles:
        """Those of a study in a state directory."""
        return cls(study, home.study(study) / ENSEMBLE)

    def save(self, ensemble: Ensemble, sources: Sequence[Path]) -> None:
        """Write its files from its members' directories; what makes it a stored one comes last."""
        from pipeline_lib.models.saved import save_model

        directory = self.directory / f"{ensemble.trial.number:04d}"
        save_model(*_network(ensemble, sources), directory)
        write_whole(directory / _FILE, json.dumps(asdict(ensemble), indent=1) + "\n")

    def stored(self) -> list[Ensemble]:
        """Those that were built, by number; a continued run may have several.

        Raises:
            ConfigurationError: What is kept of one is damaged.
        """
        return [_read(path) for path in sorted(self.directory.glob(f"*/{_FILE}"))]

    def trials(self) -> list[Trial]:
        """Each of them as a trial, by number."""
        return [each.trial for each in self.stored()]

    def leading(self) -> Ensemble | None:
        """The best of them; None without any."""
        by_trial = {each.trial.label: each for each in self.stored()}
        best = leaderboard.best(each.trial for each in by_trial.values())
        return by_trial[best.label] if best else None


def _network(ensemble: Ensemble, sources: Sequence[Path]) -> tuple[nn.Module, dict[str, Any]]:
    """The weighted average of its members, and its architecture."""
    from pipeline_lib.models.ensemble import KIND
    from pipeline_lib.models.ensemble import Ensemble as Network
    from pipeline_lib.models.saved import ARCHITECTURE, load_model

    described = [
        json.loads((source / ARCHITECTURE).read_text(encoding="utf-8")) for source in sources
    ]
    members = [
        {
            "trial": member.label,
            "weight": member.weight,
            "temperature": member.temperature,
            "architecture": own,
        }
        for member, own in zip(ensemble.members, described, strict=True)
    ]
    first = {name: described[0][name] for name in ("shape", "classes")}
    shares = ([m.weight for m in ensemble.members], [m.temperature for m in ensemble.members])
    network = Network([load_model(source) for source in sources], *shares)
    return network, {"kind": KIND, **first, "members": members}


def _read(path: Path) -> Ensemble:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        members = tuple(Member(**each) for each in kept["members"])
        return Ensemble(thaw(kept["trial"], model=path.parent), members)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError("run", f"cannot be read ({error})", value=str(path)) from error
