"""What is kept of trials in an Optuna journal beside Optuna's own fields, and read back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from pipeline_lib.search.engine import DIGEST
from pipeline_lib.search.journal import journal, open_storage
from pipeline_lib.trial import Trial, TrialState, thaw

RECORD = "automl"
"""User attribute that holds what Optuna itself does not: rungs, size, stage, reason."""
TOLD = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.STOPPED: OptunaState.PRUNED,  # the nearest that Optuna knows; the record is exact
    TrialState.FAILED: OptunaState.FAIL,
}
IDENTITY = "identity"
"""User attribute of a study: what its request has in common with every other of it."""
INTERRUPTED = "its run was interrupted"
"""The reason kept from the moment a trial starts, until it ends in another way."""


def read_trials(directory: Path, study: str) -> list[Trial]:
    """Every trial that ended, by number; empty where there is no study yet."""
    begun = find_study(directory, study)
    families = families_of(begun) if begun else []
    found: list[Trial] = []
    for index, family in enumerate(families):
        part = find_study(directory, study_name(study, index, family))
        for trial in part.get_trials(deepcopy=False) if part else ():
            if trial.state.is_finished() and RECORD in trial.user_attrs:
                number = trial.number * len(families) + index
                found.append(_thaw(trial, directory, study=study, number=number, family=family))
    return sorted(found, key=lambda trial: trial.number)


def families_of(study: optuna.Study) -> list[str]:
    """The names of a study's families; older studies say it by their space."""
    begun = study.user_attrs.get(IDENTITY, {})
    usual = "book" if begun.get("space") == "book" else "convnet"
    return [str(each).split(DIGEST)[0] for each in begun.get("family") or [usual]]


def study_name(study: str, index: int, family: str) -> str:
    """The name of a family's own study: the first has that of the search."""
    return f"{study}/{family}" if index else study


def find_study(directory: Path, study: str) -> optuna.Study | None:
    """A study that may not be there, or not yet: its file appears before it does."""
    if not journal(directory).exists():
        return None
    try:
        return optuna.load_study(study_name=study, storage=open_storage(directory))
    except KeyError:
        return None


def record_of(trial: Trial) -> dict[str, Any]:
    """What is kept of a trial beside Optuna's own fields, as JSON values."""
    fields = asdict(trial)
    for known in ("study", "engine", "number", "family", "model"):
        del fields[known]
    fields["saved"] = trial.model is not None
    return fields


def model_directory(directory: Path, number: int) -> Path:
    """Where the weights of a trial are kept."""
    return directory / "trials" / f"{number:04d}"


def _thaw(trial: FrozenTrial, directory: Path, **known: Any) -> Trial:
    record = dict(trial.user_attrs[RECORD])
    saved = record.pop("saved", False)
    model = model_directory(directory, known["number"]) if saved else None
    return thaw(record, engine="optuna", model=model, **known)
