"""Stage: open the test set, once, for the winner."""

from __future__ import annotations

from pipeline_lib import finish
from pipeline_lib.data.prepared import PreparedData
from pipeline_lib.evaluation import TestResult
from pipeline_lib.record import Record
from pipeline_lib.run import Run
from pipeline_lib.selection.contest import Contest
from pipeline_lib.trial import Trial
from tasks.stage import stage


@stage("test the winner, once")
def evaluate_winner(
    run: Run, winner: Trial, data: PreparedData, contest: Contest, record: Record
) -> TestResult:
    """Measure the winner on the test set; the reading stands in the ledger."""
    return finish.test_winner(run, winner, data, contest, record)
