"""Stage: register the winner in MLflow."""

from __future__ import annotations

from pipeline_lib import finish
from pipeline_lib.data.prepared import PreparedData
from pipeline_lib.evaluation import TestResult
from pipeline_lib.record import Record
from pipeline_lib.run import Run
from pipeline_lib.selection.contest import Contest
from pipeline_lib.trial import Trial
from tasks.stage import stage_with_retries


@stage_with_retries("register the winner")
def register(
    run: Run,
    winner: Trial,
    data: PreparedData,
    contest: Contest,
    test: TestResult,
    record: Record,
) -> finish.Registration:
    """Make the winner a challenger of its data set, and champion if it is shown to be better."""
    return finish.register(run, winner, data, contest, test, record)
