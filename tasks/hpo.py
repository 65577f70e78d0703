"""Stage: search hyperparameters with Optuna."""

from __future__ import annotations

import threading

from pipeline_lib.run import run as stages
from pipeline_lib.run.progress import Progress
from pipeline_lib.search.engine import Engine, SearchRequest
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial
from tasks.stage import stage
from tasks.watching import Watch


@stage("search with Optuna", shown=False)
def search_hyperparameters(
    engine: Engine,
    request: SearchRequest,
    progress: Progress,
    record: Record,
    stop: threading.Event,
) -> list[Trial]:
    """Search with Optuna; every trial is recorded and shown as it ends."""
    with Watch(progress, record) as watch:
        return stages.search(engine, request, stop, watch.see)
