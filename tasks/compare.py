"""Stages: rank the trials, choose the winner on validation data, compare it, decide on it."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from pipeline_lib.data.store import SearchData
from pipeline_lib.run import finish
from pipeline_lib.run.run import Run
from pipeline_lib.selection.comparison import Contest
from pipeline_lib.selection.ensemble import Candidates
from pipeline_lib.selection.leaderboard import leaderboard, shown
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial
from tasks.stage import stage

_ROWS = 20


@stage("build an ensemble")
def build_ensemble(run: Run, trials: list[Trial], data: SearchData, record: Record) -> Candidates:
    """Add the few models that answer best together, chosen on validation images."""
    return finish.build_ensemble(run, trials, data, record)


@stage("rank the trials")
def rank_trials(run: Run, trials: list[Trial], record: Record) -> Trial:
    """Rank every trial of both engines; the winner has the best validation accuracy."""
    winner = finish.rank(run, trials, record)
    rows = shown(leaderboard(trials).head(_ROWS))
    create_table_artifact(table=rows, key="leaderboard", description=f"Leaderboard of {run.name}")
    return winner


@stage("compare with the champion")
def hold_contest(
    run: Run, candidates: Candidates, winner: Trial, data: SearchData, record: Record
) -> Contest:
    """Pair each engine's best, the ensemble and the champion on validation images."""
    contest = finish.hold_contest(run, candidates, winner, data, record)
    said = "\n".join(f"- {sentence}" for sentence in contest.sentences())
    if said:
        described = f"{run.name}: who is better, on validation images"
        create_markdown_artifact(said, key="comparisons", description=described)
    return contest


@stage("decide whether it becomes champion")
def decide(run: Run, winner: Trial, contest: Contest) -> finish.Choice:
    """Apply the rules `promote` and `test`; the test set is opened after this, if at all."""
    return finish.decide(run, winner, contest)
