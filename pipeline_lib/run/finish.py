"""The stages of a run after its searches: rank, compare, decide, test, register."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline_lib.data.store import PreparedData, SearchData
from pipeline_lib.errors import AutomlError
from pipeline_lib.files import write_whole
from pipeline_lib.run.run import Run
from pipeline_lib.selection import leaderboard as compare
from pipeline_lib.tracking.record import Record
from pipeline_lib.training.memory import load_for_good
from pipeline_lib.trial import ENSEMBLE, Trial

if TYPE_CHECKING:
    from pipeline_lib.evaluation.final_test import TestResult
    from pipeline_lib.selection.comparison import Contest, Decision
    from pipeline_lib.selection.ensemble import Candidates

_HEAVY = ("torch", "mlflow.pyfunc", "scipy.stats")
_log = logging.getLogger("automl")


_NOT_PROMOTED = "it is opened only for a winner that is to become champion"


@dataclass(frozen=True)
class Choice:
    """The winner, what it was compared with, and what follows from that."""

    winner: Trial
    contest: Contest
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

    trials: list[Trial]
    choice: Choice
    test: TestResult | None  # None where the winner was never measured on the test set
    registration: Registration

    @property
    def winner(self) -> Trial:
        """The best trial on validation."""
        return self.choice.winner

    @property
    def contest(self) -> Contest:
        """What it was compared with."""
        return self.choice.contest

    @property
    def untested(self) -> str:
        """Why there are no test figures; empty where there are."""
        return "" if self.test else self.choice.untested


def load_ahead() -> None:
    """Load what these stages need, which takes seconds; each would load its own otherwise."""
    load_for_good(*_HEAVY)


def build_ensemble(run: Run, trials: list[Trial], data: SearchData, record: Record) -> Candidates:
    """Add the run's ensembles to its trials, and record them as such."""
    from pipeline_lib.selection.ensemble import add_ensemble

    candidates = add_ensemble(run, trials, data)
    for trial in candidates.trials:
        if trial.engine == ENSEMBLE:
            record.trial(trial)
    return candidates


def rank(run: Run, trials: list[Trial], record: Record) -> Trial:
    """Write the leaderboard and choose the winner, by validation accuracy alone.

    Raises:
        AutomlError: No trial left a model.
    """
    record.flush()
    frame = compare.leaderboard(trials)
    for path in compare.write_leaderboard(frame, run.directory):
        record.recorder.log_artifact(path)
    winner = compare.best(trials)
    if winner is None:
        reasons = sorted({trial.reason for trial in trials if trial.reason})
        said = f" ({'; '.join(reasons[:3])})" if reasons else ""
        remedy = "give it a larger budget, or look at the failed trials' reasons in MLflow"
        raise AutomlError("search", f"no trial left a model{said}", remedy=remedy)
    return winner


def hold_contest(
    run: Run, candidates: Candidates, winner: Trial, data: SearchData, record: Record
) -> Contest:
    """Compare each engine's best, the ensemble and the champion with statistics."""
    from pipeline_lib.selection.comparison import hold
    from pipeline_lib.selection.folds import compare_finalists

    contest = hold(run.home, record.recorder.run_id, candidates, winner, data)
    if run.config.validation_folds > 1:
        rival = "" if contest.is_champion else contest.champion_title
        folded = compare_finalists(run, candidates.trials, data, rival)
        contest = replace(contest, folded=folded)
    path = run.directory / "comparisons.json"
    write_whole(path, json.dumps(contest.as_json(), indent=1) + "\n")
    record.recorder.log_artifact(path)
    return contest


def decide(run: Run, winner: Trial, contest: Contest) -> Choice:
    """Whether the winner is to become champion, and whether the test set is opened for it."""
    from pipeline_lib.selection.comparison import decide as decide_by

    decision, rule = decide_by(run.config.promote, contest, winner), run.config.test
    if rule == "never":
        return Choice(winner, contest, decision, "test is 'never'")
    closed = "" if rule == "always" or decision.promote else _NOT_PROMOTED
    return Choice(winner, contest, decision, closed)


def test_winner(run: Run, choice: Choice, data: PreparedData, record: Record) -> TestResult | None:
    """Measure the winner on the test set where that is due, and keep what it says.

    A winner that was measured before, by this run or another, keeps its figures.
    """
    from pipeline_lib.evaluation.final_test import evaluate_once, read_figures
    from pipeline_lib.evaluation.ledger import Entry
    from pipeline_lib.models.saved import load_model, model_digest

    winner = choice.winner
    assert winner.model is not None
    called = f"{run.name}/{winner.label}"
    entry = Entry(run.home, data.sealed_test_set, called, model_digest(winner.model))
    path = run.directory / "test.json"
    result = read_figures(path if entry.is_of_old else entry.figures)
    if result is None and not choice.untested:
        network, temperature = load_model(winner.model), choice.contest.temperature
        result = evaluate_once(entry, network, data.dataset.classes, temperature)
        if result.reading > 1:
            warning = "This was reading %d of this test set: the figure is no longer untouched"
            _log.warning(warning, result.reading)
    elif result is None:
        _log.info("The test set stays closed: %s", choice.untested)
    said = result.as_json() if result else {"untested": choice.untested}
    write_whole(path, json.dumps(said, indent=1) + "\n")
    record.recorder.log_artifact(path)
    record.recorder.log_winner(winner.val_accuracy or 0.0, result.metrics() if result else {})
    return result


def register(
    run: Run, choice: Choice, data: PreparedData, test: TestResult | None, record: Record
) -> Registration:
    """Register the winner as challenger, and make it champion if that was decided."""
    from pipeline_lib.registry.promotion import promote_over
    from pipeline_lib.registry.versions import TEST_TAG, Candidate, model_name
    from pipeline_lib.registry.versions import register as register_version

    winner, contest, decision = choice.winner, choice.contest, choice.decision
    assert winner.model is not None
    dataset, before = run.config.dataset, contest.champion
    address = f"models:/{model_name(dataset)}"
    if before is not None and contest.is_champion:
        return Registration(before.version, f"{address}@champion", None, decision.why)
    tested = {TEST_TAG: test.accuracy} if test else {}
    version = register_version(
        run.home,
        Candidate(
            winner.model,
            dataset,
            data.dataset.classes,
            record.recorder.run_id,
            {"val_accuracy": winner.val_accuracy or 0.0, **tested},
            contest.tags(winner),
            contest.served,
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


def summary(run: Run, findings: Findings) -> dict[str, Any]:
    """What a run found, as JSON values: counts by engine, the winner, and who is champion."""
    from pipeline_lib.selection.ensemble_storage import leading

    winner, test, registered = findings.winner, findings.test, findings.registration
    ensemble = leading(run)
    engines = {}
    for engine in run.config.engines:
        own = [trial for trial in findings.trials if trial.engine == engine]
        top = compare.best(own)
        engines[engine] = {**compare.counts(own), "best_val": top.val_accuracy if top else None}
    return {
        "name": run.name,
        "dataset": run.config.dataset,
        "engines": engines,
        "ensemble": ensemble.as_json() if ensemble else None,
        "winner": {
            "engine": winner.engine,
            "trial": winner.number,
            "val_accuracy": winner.val_accuracy,
            "test_accuracy": test.accuracy if test else None,
            "test_interval": list(test.interval) if test else None,
            "parameters": winner.parameters,
            "configuration": dict(winner.configuration),
        },
        "comparisons": findings.contest.as_json(),
        "folds": findings.contest.folded.sentences() if findings.contest.folded else [],
        "model": registered.model,
        "challenger": registered.challenger,
        "untested": findings.untested,
        "promotion": {"promoted": registered.model is not None, "why": registered.why},
    }
