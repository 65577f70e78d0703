"""The Optuna study on disk: opened, mended after a crash, and read back as trials."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space
from pipeline_lib.search.earlier import FROM, MOST, best_earlier
from pipeline_lib.search.engine import SearchRequest, check_identity
from pipeline_lib.search.fidelity import Ladder
from pipeline_lib.search.journal import journal, tidy
from pipeline_lib.search.objective import OneObjective
from pipeline_lib.search.records import (
    IDENTITY,
    INTERRUPTED,
    RECORD,
    families_of,
    find_study,
    read_trials,
    study_name,
)
from pipeline_lib.trial import Trial

_RETRY = "retry_of"
_PRIOR = "prior"
RUNGS = "rungs"
"""User attribute of a study: its ladder, chosen once."""

Queued = tuple[dict[str, Any], dict[str, int | str]]
"""Parameters to try, and the user attributes that say why."""


@dataclass(frozen=True)
class Part:
    """One family's part of a search: an Optuna study of its own, in the engine's one journal."""

    request: SearchRequest
    index: int  # of its family in the request
    space: Space

    @property
    def family(self) -> Family:
        """What it searches."""
        return self.request.families[self.index]

    @property
    def study(self) -> str:
        """The name of its Optuna study."""
        return study_name(self.request.study, self.index, self.family.name)

    def number(self, of_optuna: int) -> int:
        """The number of a trial in the search, unique over its families."""
        return of_optuna * len(self.request.families) + self.index

    def number_of_optuna(self, number: int) -> int:
        """The number of a trial in this part's own study."""
        return number // len(self.request.families)


def open_study(
    part: Part,
    ladder: Ladder,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
) -> optuna.Study:
    """The study of a family, created or continued; what a killed run left is put right.

    Raises:
        ConfigurationError: A study of this name was begun with other data or another space, or
            with one of which a parameter had other choices.
    """
    request = part.request
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    request.directory.mkdir(parents=True, exist_ok=True)
    tidy(journal(request.directory))
    study = optuna.create_study(
        study_name=part.study,
        storage=OneObjective(journal(request.directory), ladder.top),
        direction=request.metric.direction,
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    if IDENTITY not in study.user_attrs:
        study.set_user_attr(IDENTITY, request.identity)
        study.set_user_attr("family", part.family.as_json())
        study.set_user_attr(RUNGS, ladder.as_json())
    check_identity(request, study.user_attrs[IDENTITY])
    _check_distributions(study, part)
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
    begun = find_study(request.directory, request.study)
    if begun is None:
        return
    check_identity(request, begun.user_attrs.get(IDENTITY, request.identity))
    with request.open_spaces() as spaces:
        for index, space in enumerate(spaces):
            part = Part(request, index, space)
            study = find_study(request.directory, part.study)
            if study is not None:
                _check_distributions(study, part)


def first_in_line(study: optuna.Study, part: Part) -> list[Queued]:
    """What to try before the sampler is asked: interrupted search trials once more, then the best
    of earlier studies, or priors where there is none that would fit.

    Not kept in Optuna's own queue: from there a final would get the parameters of another.
    """
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(_RETRY) for trial in trials}
    again = [t for t in trials if _was_interrupted(t) and t.number not in repeated]
    tried = {trial.user_attrs.get(name) for trial in trials for name in (_PRIOR, FROM)}
    known: list[Queued] = _earlier(part) or [
        (parameters, {_PRIOR: index}) for index, parameters in enumerate(part.space.priors())
    ]
    repeats: list[Queued] = [(t.params, {**origin_of(t), _RETRY: t.number}) for t in again]
    return [
        *repeats,
        *((parameters, why) for parameters, why in known if not tried & set(why.values())),
    ]


def _earlier(part: Part) -> list[Queued]:
    """The family's best parameters in the studies that a request starts from, where they fit.

    Earlier budgets may have had other ranges: what is outside of today's is left out.
    """
    places = dict(part.request.warm_start)
    queue: list[Queued] = []
    for trial in best_earlier(part.request, lambda study, place: read_trials(place, study)):
        if trial.family != part.family.name:
            continue
        parameters = _parameters_of(places[trial.study], trial)
        if part.space.holds(parameters):
            queue.append((parameters, {FROM: f"{trial.label} of {trial.study}"}))
        if len(queue) == MOST:
            break
    return queue


def _parameters_of(directory: Path, trial: Trial) -> dict[str, Any]:
    """What Optuna suggested for a trial of an earlier study."""
    begun = find_study(directory, trial.study)
    assert begun is not None
    families = families_of(begun)
    index = families.index(trial.family)
    study = find_study(directory, study_name(trial.study, index, trial.family))
    assert study is not None
    number = trial.number // len(families)
    return study.get_trials(deepcopy=False)[number].params


def origin_of(trial: optuna.Trial | FrozenTrial) -> dict[str, str]:
    """The note that says of which trial of an earlier run these parameters are, if of any."""
    return {FROM: trial.user_attrs[FROM]} if FROM in trial.user_attrs else {}


def _check_distributions(study: optuna.Study, part: Part) -> None:
    """Optuna goes on with other ranges, but not with other choices or another kind of number."""
    trials = study.get_trials(deepcopy=False)
    offered = part.space.distributions if trials else {}
    for name, then in (pair for trial in trials for pair in trial.distributions.items()):
        now = offered.get(name, then)
        try:
            check_distribution_compatibility(then, now)
        except ValueError as error:
            problem = f"the study {part.study!r} was begun with {name} from {then}"
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
