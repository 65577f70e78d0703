"""Stage: register the winner in MLflow."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipeline_lib import run as stages
from pipeline_lib.data.prepared import PreparedData
from pipeline_lib.evaluation import TestResult
from pipeline_lib.record import Record
from pipeline_lib.trial import Trial
from tasks.data import infrastructure_failed


@task(
    name="register the champion",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=infrastructure_failed,
    cache_policy=NO_CACHE,
)
def register(
    run: stages.Run, winner: Trial, data: PreparedData, test: TestResult, record: Record
) -> str:
    """Make the winner the champion of its data set; returns its `models:/…` address."""
    return stages.register(run, winner, data, test, record)
