"""The values of a study that its sampler and pruner take into account."""

from __future__ import annotations

from collections.abc import Container
from copy import copy
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from pipeline_lib.search.journal import WholeLines
from pipeline_lib.search.records import RECORD


class OneObjective(JournalStorage):
    """A study as its sampler sees it: every value is the one at the top rung of this search.

    A run with another budget ended at another rung, and finals train longer than any rung. Longer
    trainings are better, so a sampler that took all of these for values of one function
    would learn the length of the training instead of the configuration.
    """

    def __init__(self, path: Path, top: int) -> None:
        super().__init__(WholeLines(path))
        self._top = top

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[OptunaState] | None = None,
    ) -> list[FrozenTrial]:
        """Every trial, complete if it has a value at the top rung and pruned if below it.

        Finals count as failed, which samplers and pruners ignore.
        """
        trials = super().get_all_trials(study_id, deepcopy)
        seen = (_up_to(self._top, trial) for trial in trials)
        return [trial for trial in seen if states is None or trial.state in states]


def _up_to(top: int, trial: FrozenTrial) -> FrozenTrial:
    if trial.state not in (OptunaState.COMPLETE, OptunaState.PRUNED):
        return trial
    rungs = trial.intermediate_values
    is_final = trial.user_attrs.get(RECORD, {}).get("stage") == "final"
    reached = {} if is_final else {step: rungs[step] for step in rungs if step <= top}
    seen = copy(trial)
    seen.intermediate_values = reached
    seen.values = [reached[max(reached)]] if reached else None
    if not reached:
        seen.state = OptunaState.FAIL
    else:
        seen.state = OptunaState.COMPLETE if top in reached else OptunaState.PRUNED
    return seen
