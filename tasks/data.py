"""Stage: load the data set."""

from __future__ import annotations

from pipeline_lib import run as stages
from pipeline_lib.data.prepared import PreparedData
from tasks.stage import stage_with_retries


@stage_with_retries("load data", timeout_seconds=1800)
def load_data(run: stages.Run) -> PreparedData:
    """Fetch, check and convert the data set; at once where that was done before."""
    return stages.load_data(run)
