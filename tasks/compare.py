"""Stage: compare the best models and choose the winner on validation data."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from pipeline_lib import run as stages
from pipeline_lib.compare import leaderboard
from pipeline_lib.record import Record
from pipeline_lib.trial import Trial

_ROWS = 20


@task(name="compare models", cache_policy=NO_CACHE)
def compare_models(run: stages.Run, trials: list[Trial], record: Record) -> Trial:
    """Rank every trial of both engines; the winner has the best validation accuracy."""
    winner = stages.rank(run, trials, record)
    top = leaderboard(trials).head(_ROWS)
    rows = [
        {
            "rank": row.rank,
            "trial": f"{row.engine} #{row.trial}",
            "stage": row.stage,
            "state": row.state,
            "validation": "–" if row.val_accuracy is None else f"{row.val_accuracy:.2%}",
            "parameters": "–" if row.parameters is None else f"{row.parameters:,}",
            "seconds": f"{row.seconds:.1f}",
        }
        for row in top.astype(object).where(top.notna(), None).itertuples()
    ]
    create_table_artifact(table=rows, key="leaderboard", description=f"Leaderboard of {run.name}")
    return winner
