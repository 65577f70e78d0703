"""The Optuna study on disk: opened, mended after a crash, and read back as trials."""

from __future__ import annotations

import warnings
from collections.abc import Container
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families.spaces import distributions, holds, priors
from pipeline_lib.search.earlier import FROM, MOST, best_earlier
from pipeline_lib.search.engine import SearchRequest, check_identity
from pipeline_lib.search.fidelity import Ladder
from pipeline_lib.search.journal import WholeLines, journal, open_storage, tidy
from pipeline_lib.trial import Trial, TrialState, thaw

RECORD = "automl"
"""User attribute that holds what Optuna itself does not: rungs, size, stage, reason."""
TOLD = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.STOPPED: OptunaState.PRUNED,  # the nearest that Optuna knows; the record is exact
    TrialState.FAILED: OptunaState.FAIL,
}
_RETRY = "retry_of"
_PRIOR = "prior"
_IDENTITY = "identity"

Queued = tuple[dict[str, Any], dict[str, int | str]]
"""Parameters to try, and the user attributes that say why."""

INTERRUPTED = "its run was interrupted"
"""The reason kept from the moment a trial starts, until it ends in another way."""


def open_study(
    request: SearchRequest,
    ladder: Ladder,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
) -> optuna.Study:
    """The study of a request, created or continued; what a killed run left is put right.

    Raises:
        ConfigurationError: A study of this name was begun with other data or another space, or
            with one of which a parameter had other choices.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    request.directory.mkdir(parents=True, exist_ok=True)
    tidy(journal(request.directory))
    study = optuna.create_study(
        study_name=request.study,
        storage=_OneObjective(journal(request.directory), ladder.top),
        direction=request.metric.direction,
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    if _IDENTITY not in study.user_attrs:
        study.set_user_attr(_IDENTITY, request.identity)
    _check(study, request)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([f"validation {request.metric.title}"])
    _close_interrupted(study)
    return study


def check_study(request: SearchRequest) -> None:
    """Whether a request may continue the study of its name, where there is one; only read.

    Raises:
        ConfigurationError: It was begun with other data or settings.
    """
    study = _find(request.directory, request.study)
    if study is not None:
        _check(study, request)


def _check(study: optuna.Study, request: SearchRequest) -> None:
    check_identity(request, study.user_attrs.get(_IDENTITY, request.identity))
    _check_distributions(study, request)


def first_in_line(study: optuna.Study, request: SearchRequest) -> list[Queued]:
    """What to try before the sampler is asked: interrupted search trials once more, then the best
    of earlier studies, or priors where there is none that would fit.

    Not kept in Optuna's own queue: from there a final would get the parameters of another.
    """
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(_RETRY) for trial in trials}
    again = [t for t in trials if _was_interrupted(t) and t.number not in repeated]
    tried = {trial.user_attrs.get(name) for trial in trials for name in (_PRIOR, FROM)}
    known: list[Queued] = _earlier(request) or [
        (parameters, {_PRIOR: index})
        for index, parameters in enumerate(priors(request.space, request.budget_seconds))
    ]
    repeats: list[Queued] = [(t.params, {**origin_of(t), _RETRY: t.number}) for t in again]
    return [
        *repeats,
        *((parameters, why) for parameters, why in known if not tried & set(why.values())),
    ]


def _earlier(request: SearchRequest) -> list[Queued]:
    """The best parameters of the studies that a request starts from, as far as its space has them.

    Earlier budgets may have had other ranges: what is outside of today's is left out.
    """
    if not request.warm_start:
        return []
    offered = distributions(request.space, request.budget_seconds)
    places = dict(request.warm_start)
    queue: list[Queued] = []
    for trial in best_earlier(request, lambda study, place: read_trials(place, study)):
        storage = open_storage(places[trial.study])
        study = optuna.load_study(study_name=trial.study, storage=storage)
        parameters = study.get_trials(deepcopy=False)[trial.number].params
        if all(n in offered and holds(offered[n], value) for n, value in parameters.items()):
            queue.append((parameters, {FROM: f"{trial.label} of {trial.study}"}))
        if len(queue) == MOST:
            break
    return queue


def origin_of(trial: optuna.Trial | FrozenTrial) -> dict[str, str]:
    """The note that says of which trial of an earlier run these parameters are, if of any."""
    return {FROM: trial.user_attrs[FROM]} if FROM in trial.user_attrs else {}


def read_trials(directory: Path, study: str) -> list[Trial]:
    """Every trial that ended, by number; empty where there is no study yet."""
    loaded = _find(directory, study)
    if loaded is None:
        return []
    ended = [trial for trial in loaded.get_trials(deepcopy=False) if trial.state.is_finished()]
    return [_thaw(trial, directory, study) for trial in ended if RECORD in trial.user_attrs]


def _find(directory: Path, study: str) -> optuna.Study | None:
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
    for known in ("study", "engine", "number", "model"):
        del fields[known]
    fields["saved"] = trial.model is not None
    return fields


def model_directory(directory: Path, number: int) -> Path:
    """Where the weights of a trial are kept."""
    return directory / "trials" / f"{number:04d}"


class _OneObjective(JournalStorage):
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


def _check_distributions(study: optuna.Study, request: SearchRequest) -> None:
    """Optuna goes on with other ranges, but not with other choices or another kind of number."""
    trials = study.get_trials(deepcopy=False)
    offered = distributions(request.space, request.budget_seconds) if trials else {}
    for name, then in (pair for trial in trials for pair in trial.distributions.items()):
        now = offered.get(name, then)
        try:
            check_distribution_compatibility(then, now)
        except ValueError as error:
            problem = f"the study {request.study!r} was begun with {name} from {then}"
            remedy = "choose another --name: the space has changed since"
            raise ConfigurationError("space", problem, value=now, remedy=remedy) from error


def _close_interrupted(study: optuna.Study) -> None:
    """Fail what a killed run left running, or queued just before it could start."""
    for _ in study.get_trials(deepcopy=False, states=(OptunaState.WAITING,)):
        study.ask()
    for trial in study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,)):
        study.tell(trial.number, state=OptunaState.FAIL)


def _was_interrupted(trial: FrozenTrial) -> bool:
    """Whether an earlier run left a search trial without outcome; a repeated one had its turn."""
    record = trial.user_attrs.get(RECORD, {"stage": "search", "reason": INTERRUPTED})
    was_search = record["stage"] == "search" and record["reason"] == INTERRUPTED
    return was_search and bool(trial.params) and _RETRY not in trial.user_attrs


def _thaw(trial: FrozenTrial, directory: Path, study: str) -> Trial:
    record = dict(trial.user_attrs[RECORD])
    model = model_directory(directory, trial.number) if record.pop("saved", False) else None
    return thaw(record, study=study, engine="optuna", number=trial.number, model=model)
