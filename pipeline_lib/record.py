"""Recording in the background: the search never waits for MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pipeline_lib.trial import Trial, TrialState

if TYPE_CHECKING:
    from pipeline_lib.run import Run
    from pipeline_lib.tracking import Recorder


class Record:
    """A run's MLflow recorder behind a thread of its own; the thread also loads MLflow.

    Use as a context manager: leaving it writes what is still queued and closes the run in MLflow,
    as FAILED when an exception is on its way.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._recorder: Future[Recorder] = self._thread.submit(self._open)
        self._pending: list[Future[Any]] = []

    def _open(self) -> Recorder:
        from pipeline_lib.tracking import Recorder, environment_tags

        run = self._run
        tags = environment_tags(run.config.seed) | {"automl.dataset": run.config.dataset}
        recorder = Recorder.open(run.home, run.config.dataset, run.name, tags)
        recorder.log_params(run.config.model_dump())
        return recorder

    @property
    def recorder(self) -> Recorder:
        """The recorder itself, for what is written once; waits until MLflow is open."""
        return self._recorder.result()

    def trial(self, trial: Trial) -> None:
        """Queue a finished trial; one that runs is passed over, one recorded before skipped."""
        if trial.state != TrialState.RUNNING:
            self._later(lambda recorder: recorder.record(trial))

    def data(self, name: str, digest: str, split_digest: str, sizes: Mapping[str, int]) -> None:
        """Queue which data are searched on."""
        self._later(lambda recorder: recorder.log_dataset(name, digest, split_digest, sizes))

    def _later(self, write: Callable[[Recorder], object]) -> None:
        self._pending.append(self._thread.submit(lambda: write(self.recorder)))

    def flush(self) -> None:
        """Wait until everything queued is written; raises what went wrong."""
        while self._pending:
            self._pending.pop(0).result()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._recorder.exception() is None:
                self.flush()
                self.recorder.finish("FINISHED" if kind is None else "FAILED")
        finally:
            self._thread.shutdown()
        if kind is None:
            self._recorder.result()
