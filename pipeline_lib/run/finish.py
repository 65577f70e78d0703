"""The stages of a run after its searches: rank, compare, decide, test, register."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline_lib.data.problem import Problem
from pipeline_lib.data.source import Source
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import AutomlError, ModelError
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.outcome import Choice, ComparisonResult, Findings, Registration, validation
from pipeline_lib.registry.once import TRIAL_TAG
from pipeline_lib.run.run import Run
from pipeline_lib.selection import leaderboard
from pipeline_lib.test_result import TestResult
from pipeline_lib.tracking.record import Record
from pipeline_lib.tracking.trials import values_of
from pipeline_lib.training.memory import preload_and_freeze
from pipeline_lib.trial import ENSEMBLE, Trial

if TYPE_CHECKING:
    from pipeline_lib.selection.comparison import CurrentChampion
    from pipeline_lib.selection.ensemble import Candidates

_HEAVY = ("torch", "mlflow.pyfunc", "scipy.stats")
_NOT_PROMOTED = "it is opened only for a winner that is to become champion"
_OTHER_SPLIT = "it was chosen on another split, whose training part may hold these images"
_OTHER_SHAPE = "it takes images of another size"
_log = logging.getLogger("automl")


def load_ahead() -> None:
    """Load what these stages need, which takes seconds; each would load its own otherwise."""
    preload_and_freeze(*_HEAVY)


def build_ensemble(run: Run, trials: list[Trial], split: Split, record: Record) -> Candidates:
    """Add the run's ensembles to its trials, and record them as such."""
    from pipeline_lib.selection.ensemble import add_ensemble

    candidates = add_ensemble(run.config, run.ensembles, trials, split)
    for trial in candidates.trials:
        if trial.engine == ENSEMBLE:
            record.trial(trial)
    return candidates


def rank(run: Run, trials: list[Trial], record: Record) -> Trial:
    """Write the leaderboard and choose the winner, by validation alone.

    Raises:
        AutomlError: No trial left a model.
    """
    record.flush()
    frame = leaderboard.leaderboard(trials)
    for path in leaderboard.write_leaderboard(frame, run.directory):
        record.recorder.log_artifact(path)
    winner = leaderboard.best(trials)
    if winner is None:
        reasons = sorted({trial.reason for trial in trials if trial.reason})
        said = f" ({'; '.join(reasons[:3])})" if reasons else ""
        remedy = "give it a larger budget, or look at the failed trials' reasons in MLflow"
        raise AutomlError("search", f"no trial left a model{said}", remedy=remedy)
    return winner


def compare_candidates(
    run: Run, candidates: Candidates, winner: Trial, split: Split, record: Record
) -> ComparisonResult:
    """Compare each engine's best, the ensemble and the champion with statistics."""
    from pipeline_lib.selection.comparison import compare
    from pipeline_lib.selection.folds import compare_finalists

    met = current_champion(run.home, record.recorder.run_id, winner, split)
    compared = compare(candidates, winner, split, met)
    if run.config.validation_folds > 1:
        rival = "" if compared.is_champion else compared.champion_title
        trials, families = candidates.trials, run.families
        folded = compare_finalists(run.config, run.ensembles, trials, split, rival, families)
        compared = replace(compared, folded=folded)
    path = run.directory / "comparisons.json"
    write_whole(path, json.dumps(compared.as_json(), indent=1) + "\n")
    record.recorder.log_artifact(path)
    return compared


def current_champion(
    home: Home, run_id: str, winner: Trial, split: Split
) -> CurrentChampion | None:
    """The champion, and its network unless it may have been trained on these images.

    Args:
        home: Where the registry is.
        run_id: The run in MLflow; a champion that comes from it may be the winner itself.
        winner: The run's best trial.
        split: What the run's trials were trained on.
    """
    from pipeline_lib.registry.promotion import champion
    from pipeline_lib.registry.versions import load_champion, model_name
    from pipeline_lib.selection.comparison import CurrentChampion, never_trained_on

    found = champion(home, split.problem.name)
    if found is None:
        return None
    if (found.run_id, found.tags.get(TRIAL_TAG)) == (run_id, winner.label):
        return CurrentChampion(found, is_winner=True)
    if not never_trained_on(found.tags, split):
        return CurrentChampion(found, not_compared=_OTHER_SPLIT)
    try:
        address = f"models:/{model_name(split.problem.name)}/{found.version}"
        classifier = load_champion(home, address)
        if classifier.shape != split.problem.inputs.shape:
            return CurrentChampion(found, not_compared=_OTHER_SHAPE)
        return CurrentChampion(found, classifier.module)
    except ModelError as error:  # the run goes on without it
        return CurrentChampion(found, not_compared=str(error))


def decide(run: Run, winner: Trial, compared: ComparisonResult) -> Choice:
    """Whether the winner is to become champion, and whether the test set is opened for it."""
    from pipeline_lib.selection.comparison import decide as decide_by

    decision, rule = decide_by(run.config.promote, compared, winner), run.config.test
    if rule == "never":
        return Choice(winner, compared, decision, "test is 'never'")
    closed = "" if rule == "always" or decision.promote else _NOT_PROMOTED
    return Choice(winner, compared, decision, closed)


def test_winner(run: Run, choice: Choice, source: Source, record: Record) -> TestResult | None:
    """Measure the winner on the test set where that is due, and keep what it says.

    A winner that was measured before, by this run or another, keeps its figures.
    """
    from pipeline_lib.evaluation.final_test import evaluate_once, read_figures
    from pipeline_lib.evaluation.ledger import Entry
    from pipeline_lib.models.saved import load_model, model_digest

    winner = choice.winner
    assert winner.model is not None
    called = f"{run.name}/{winner.label}"
    entry = Entry(run.home, source.test_set, called, model_digest(winner.model))
    path = run.directory / "test.json"
    result = read_figures(path if entry.is_of_old else entry.figures)
    if result is None and not choice.untested:
        network, temperature = load_model(winner.model), choice.compared.temperature
        names = source.problem.target.names
        result = evaluate_once(entry, network, names, temperature, winner.metric)
        if result.reading > 1:
            warning = "This was reading %d of this test set: the figure is no longer untouched"
            _log.warning(warning, result.reading)
    elif result is None:
        _log.info("The test set stays closed: %s", choice.untested)
    said = result.as_json() if result else {"untested": choice.untested}
    write_whole(path, json.dumps(said, indent=1) + "\n")
    record.recorder.log_artifact(path)
    reached = values_of(winner.metric, winner.rungs[-1])
    record.recorder.log_winner(reached, result.metrics() if result else {})
    return result


def register(
    run: Run, choice: Choice, problem: Problem, test: TestResult | None, record: Record
) -> Registration:
    """Register the winner as challenger, and make it champion if that was decided."""
    from pipeline_lib.registry.promotion import promote_over
    from pipeline_lib.registry.served import Served
    from pipeline_lib.registry.versions import Candidate, model_name
    from pipeline_lib.registry.versions import register as register_version
    from pipeline_lib.selection.comparison import tags

    winner, compared, decision = choice.winner, choice.compared, choice.decision
    assert winner.model is not None
    dataset, before = problem.name, compared.champion
    address = f"models:/{model_name(dataset)}"
    if before is not None and compared.is_champion:
        return Registration(before.version, f"{address}@champion", None, decision.why)
    tested = test.figures if test else {}
    version = register_version(
        run.home,
        Candidate(
            winner.model,
            dataset,
            problem.target.names,
            record.recorder.run_id,
            {**values_of(winner.metric, winner.rungs[-1]), **tested},
            tags(compared, winner),
            Served(compared.temperature, compared.brightness),
        ),
    )
    why = decision.why
    if decision.promote:
        seen = before.version if before else None
        if promote_over(run.home, dataset, version, seen, why):
            return Registration(version, f"{address}@champion", None, why)
        opened = " (its test figures stand)" if test else ""
        why = f"another run promoted its winner meanwhile{opened}; `automl promote` compares both"
    return Registration(version, None, f"{address}@challenger", why)


def summary(findings: Findings) -> dict[str, Any]:
    """What a run found, as JSON values: counts by engine, the winner, and who is champion."""
    winner, test, registered = findings.winner, findings.test, findings.registration
    ensemble = findings.ensemble
    engines = {}
    for engine in findings.config.engines:
        own = [trial for trial in findings.trials if trial.engine == engine]
        top = leaderboard.best(own)
        engines[engine] = {**leaderboard.counts(own), "best_val": top.value if top else None}
    return {
        "name": findings.name,
        "dataset": findings.config.problem_name,
        "engines": engines,
        "ensemble": ensemble.as_json() if ensemble else None,
        "winner": {
            "engine": winner.engine,
            "trial": winner.number,
            **validation(winner),
            "test_accuracy": test.accuracy if test else None,
            "test_interval": list(test.interval) if test else None,
            "test_value": test.scored.value if test and test.scored else None,
            "test_text": test.text if test else None,
            "parameters": winner.parameters,
            "configuration": dict(winner.configuration),
        },
        "comparisons": findings.compared.as_json(),
        "folds": findings.compared.folded.sentences() if findings.compared.folded else [],
        "model": registered.model,
        "challenger": registered.challenger,
        "untested": findings.untested,
        "promotion": {"promoted": registered.model is not None, "why": registered.why},
    }
