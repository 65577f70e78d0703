"""What happens beside a search: trials are recorded, and progress shows in Prefect's UI."""

from __future__ import annotations

import time

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipeline_lib.progress import Progress
from pipeline_lib.record import Record
from pipeline_lib.trial import Trial
from tasks.display import PlainLines

_ARTIFACT_SECONDS = 5.0


class Watch:
    """Takes each snapshot of a trial to MLflow, the log and a progress artifact."""

    def __init__(self, progress: Progress, record: Record) -> None:
        self._progress = progress
        self._record = record
        self._lines = PlainLines(progress)
        self._updated = 0.0
        self._artifact = create_progress_artifact(
            progress=0.0,
            key=f"{progress.engine}-progress",
            description=f"Budget spent by {progress.engine}",
        )

    def see(self, trial: Trial) -> None:
        """One snapshot, from the engine."""
        improved = self._progress.see(trial)
        self._record.trial(trial)
        self._lines.say(improved)
        if time.monotonic() - self._updated >= _ARTIFACT_SECONDS:
            self._update(self._progress.look().share)

    def _update(self, share: float) -> None:
        self._updated = time.monotonic()
        line = self._progress.look().line()
        update_progress_artifact(self._artifact, progress=round(share * 100, 1), description=line)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exception: object) -> None:
        self._update(1.0)
