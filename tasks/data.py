"""Stage: load the data set."""

from __future__ import annotations

from pipeline_lib.data.store import PreparedData
from pipeline_lib.run import run as stages
from tasks.stage import stage_with_retries


@stage_with_retries("load data", timeout_seconds=1800)
def load_data(run: stages.Run) -> PreparedData:
    """Fetch, check and convert the data set; at once where that was done before."""
    return stages.load_data(run)
