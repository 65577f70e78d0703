"""Which rungs a family's study climbs: chosen once, from data, budget and speed, then kept."""

from __future__ import annotations

import optuna

from pipeline_lib.search.fidelity import SEARCH_SHARE, SECONDS_PER_SAMPLE, Ladder, most_rungs
from pipeline_lib.search.records import find_study, model_directory
from pipeline_lib.search.study import RUNGS, Part
from pipeline_lib.training.workers import TrialJob, seconds_per_sample

_BEFORE = 10_000  # samples at the first rung of studies that keep no rungs: they are older


def ladder_of(part: Part) -> Ladder:
    """The ladder that a family's study was begun with; of a new one, what suits it.

    A search that a number of trials ends must not depend on a clock: its rungs follow from budget
    and sizes alone.
    """
    request, asked = part.request, part.space.asked
    budget, size = request.budget_seconds, len(request.split.train)
    begun = find_study(request.directory, part.study)
    if begun is not None and RUNGS in begun.user_attrs:
        return Ladder.from_json(begun.user_attrs[RUNGS])
    if asked.passes:
        return Ladder.of_passes(asked.passes, size)
    if begun is not None:
        return Ladder.rising(request.first_rung or _BEFORE, most_rungs(budget))
    if request.trials is not None or request.first_rung:
        return Ladder.counted(budget, size, asked.first_rung, request.first_rung)
    return Ladder.of_room(budget, size, _room(part), asked.first_rung)


def _room(part: Part) -> float:
    """Training samples that the search has time for, all of its workers together."""
    request = part.request
    share = request.budget_seconds * SEARCH_SHARE / len(request.families)
    return share * request.workers / (_pace(part) or SECONDS_PER_SAMPLE)


def _pace(part: Part) -> float | None:
    """Seconds a sample of the first configuration to try; None where it cannot be trained."""
    request, study = part.request, optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for prior in part.space.priors()[:1]:
        study.enqueue_trial(prior)
    job = TrialJob(
        family=part.family,
        configuration=part.space.propose(study.ask()),
        split=request.split,
        seed=request.seed,
        directory=model_directory(request.directory, 0),
        seconds=request.trial_seconds,
        memory=request.trial_memory,
    )
    return seconds_per_sample(job)
