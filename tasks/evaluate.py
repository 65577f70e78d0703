"""Stage: open the test set for a winner, once, where that is due."""

from __future__ import annotations

from pipeline_lib.data.store import PreparedData
from pipeline_lib.evaluation.final_test import TestResult
from pipeline_lib.run import finish
from pipeline_lib.run.run import Run
from pipeline_lib.tracking.record import Record
from tasks.stage import stage


@stage("test the winner, if that is due")
def evaluate_winner(
    run: Run, choice: finish.Choice, data: PreparedData, record: Record
) -> TestResult | None:
    """Measure the winner on the test set; the ledger has a line for it."""
    return finish.test_winner(run, choice, data, record)
