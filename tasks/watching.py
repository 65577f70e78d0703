"""What happens beside a search: trials are recorded, and progress shows in Prefect's UI."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipeline_lib.run.progress import Lines, Progress
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial

_log = logging.getLogger("automl")
_SECONDS, _TIMES = 5.0, 200
"""How often the artifact follows: so many seconds apart at least, and so many times about."""


class Watch:
    """Takes each snapshot of a trial to MLflow and the log; a progress artifact follows the clock.

    So do the log's lines: a final may train for many minutes without a snapshot.
    """

    def __init__(self, progress: Progress, record: Record) -> None:
        self._progress = progress
        self._record = record
        self._lines = Lines(progress)
        self._ended = threading.Event()
        self._shown = True
        self._artifact = create_progress_artifact(
            progress=0.0,
            key=f"{progress.engine}-progress",
            description=f"Budget spent by {progress.engine}",
        )

    def on_trial(self, trial: Trial) -> None:
        """One snapshot, from the engine."""
        improved = self._progress.add(trial)
        self._record.trial(trial)
        if improved:
            self._lines.say()

    def _follow(self) -> None:
        while not self._ended.wait(max(_SECONDS, self._progress.budget / _TIMES)):
            self._lines.say_if_due()
            self._update()

    def _update(self) -> None:
        snapshot = self._progress.look()
        percent = 100.0 if self._ended.is_set() else round(snapshot.share * 100, 1)
        try:
            update_progress_artifact(self._artifact, percent, snapshot.line())
            self._shown = True
        except httpx.HTTPError as error:  # it is a picture of the search, no part of it
            if self._shown:
                _log.warning(
                    "Prefect does not show how %s stands: %s", self._progress.engine, error
                )
            self._shown = False

    def __enter__(self) -> Watch:
        threads = ThreadPoolExecutor(1, f"{self._progress.engine}-progress")
        self._following: Future[None] = threads.submit(copy_context().run, self._follow)
        threads.shutdown(wait=False)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._following.result()
        self._update()
