"""Stage: load the data set."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipeline_lib import run as stages
from pipeline_lib.data.prepared import PreparedData
from pipeline_lib.errors import UserError
from pipeline_lib.record import Record


def infrastructure_failed(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what a second try can mend, never a mistake of the user's."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, UserError)


@task(
    name="load data",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=infrastructure_failed,
    timeout_seconds=1800,
    cache_policy=NO_CACHE,
)
def load_data(run: stages.Run, record: Record) -> PreparedData:
    """Fetch, check and convert the data set; at once where that was done before."""
    return stages.load_data(run, record)
