"""Stage: register the winner in MLflow."""

from __future__ import annotations

from pipeline_lib.data.store import PreparedData
from pipeline_lib.evaluation.final_test import TestResult
from pipeline_lib.run import finish
from pipeline_lib.run.run import Run
from pipeline_lib.tracking.record import Record
from tasks.stage import stage_with_retries


@stage_with_retries("register the winner")
def register(
    run: Run,
    choice: finish.Choice,
    data: PreparedData,
    test: TestResult | None,
    record: Record,
) -> finish.Registration:
    """Make the winner a challenger of its data set, and champion if that was decided."""
    return finish.register(run, choice, data, test, record)
