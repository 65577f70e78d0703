"""Recording in the background: the search never waits for MLflow, nor ends because of it."""

from __future__ import annotations

import json
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import AutomlError, Stopped
from pipeline_lib.home import Home
from pipeline_lib.tracking.address import VARIABLE, try_to_write
from pipeline_lib.trial import Trial, TrialState

if TYPE_CHECKING:
    from pipeline_lib.tracking import Recorder
    from pipeline_lib.tracking.recorder import Outcome

_log = logging.getLogger("automl")
_AWAY_SECONDS = 30.0  # between two tries while MLflow takes nothing
_FIRST_TRIAL_SECONDS = 10.0  # to wait for one at most
_Write = Callable[["Recorder"], object]


class Record:
    """A run's MLflow recorder behind a thread of its own.

    The thread loads MLflow once the first trial trains: before, loading would keep it waiting.

    Use as a context manager: leaving it writes what is still queued and closes the run in MLflow,
    as FAILED when an error is on its way, as KILLED when the run was stopped. Nothing is written
    before there is something to write: a run that is refused leaves a finished one as it was. What
    MLflow does not take is tried again; what it never takes is in the engines' storages, and
    `automl sync` writes it later.
    """

    def __init__(self, home: Home, name: str, config: RunConfig) -> None:
        self._home, self._name, self._config = home, name, config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._opened: Recorder | None = None
        self._pending: list[Future[None]] = []
        self._missed: list[tuple[_Write, Exception]] = []
        self._away_until = 0.0  # time.monotonic()
        self._may_load = threading.Event()
        self._thread.submit(self._may_load.wait, _FIRST_TRIAL_SECONDS)
        self._thread.submit(self._load)

    def _load(self) -> None:
        """What takes seconds, beside the first trial; `_open` says what went wrong."""
        from pipeline_lib.tracking import open_store

        open_store(self._home)

    def _open(self) -> Recorder:
        """The recorder; only the thread calls this, and again where MLflow did not answer."""
        if self._opened is None:
            from pipeline_lib.tracking import Recorder, environment_tags

            dataset = self._config.problem_name
            tags = environment_tags(self._config.seed) | {"automl.dataset": dataset}
            self._opened = Recorder.open(self._home, dataset, self._name, tags)
        return self._opened

    @property
    def recorder(self) -> Recorder:
        """The recorder itself, for what is written once; waits until MLflow is open.

        Raises:
            UserError: MLflow cannot be opened.
        """
        self._may_load.set()
        return self._thread.submit(self._open).result()

    def trial(self, trial: Trial) -> None:
        """Queue a finished trial; one that runs is passed over, one recorded before skipped."""
        self._may_load.set()
        if trial.state != TrialState.RUNNING:
            self._later(lambda recorder: recorder.record(trial))

    def begin(self, name: str, digest: str, split_digest: str, sizes: Mapping[str, int]) -> None:
        """Queue what the run was asked for, and which data it searches on."""
        self._later(lambda recorder: recorder.log_params(self._config.model_dump()))
        self._later(lambda recorder: recorder.log_dataset(name, digest, split_digest, sizes))

    def file(self, path: Path) -> None:
        """Queue a file that is to be kept with the run."""
        self._later(lambda recorder: recorder.log_artifact(path))

    def killed(self) -> None:
        """Queue that the run was stopped; it may be finished all the same."""
        self._later(lambda recorder: recorder.finish("KILLED"))

    def close_killed(self) -> None:
        """Write what is queued and that the run was stopped: this process ends, whatever it does.

        May be called from any thread; waits for no longer than the thread that records lives.
        """
        self._may_load.set()
        with suppress(RuntimeError):  # it was closed already
            self._thread.submit(self._close_killed).result()

    def _close_killed(self) -> None:
        self._away_until = 0.0
        again, self._missed = self._missed, []
        for write, _error in again:
            self._try(write)
        if self._opened is not None:
            self._try(lambda recorder: recorder.finish("KILLED"))

    def _later(self, write: _Write) -> None:
        self._pending.append(self._thread.submit(self._try, write))

    def _try(self, write: _Write) -> None:
        """Let MLflow take a record, or keep it; while MLflow is away, now and then only."""
        from mlflow.exceptions import MlflowException

        if time.monotonic() < self._away_until:
            self._missed.append((write, self._missed[-1][1]))
            return
        try:
            write(self._open())
        except (MlflowException, AutomlError, OSError) as error:
            self._missed.append((write, error))
            self._away_until = time.monotonic() + _AWAY_SECONDS

    def flush(self) -> None:
        """Wait until everything queued was tried, and what failed was tried once more."""
        self._drain()
        self._away_until = 0.0
        again, self._missed = self._missed, []
        for write, _error in again:
            self._later(write)
        self._drain()

    def _drain(self) -> None:
        self._may_load.set()
        while self._pending:
            self._pending.pop(0).result()

    def __enter__(self) -> Record:
        """Begin; a store that the user named is tried now, with a file, before anything else.

        Raises:
            UserError: It cannot be used.
        """
        if os.environ.get(VARIABLE):
            self._may_load.set()
            try:
                self._thread.submit(self._try_to_write).result()
            except BaseException:
                self._thread.shutdown()
                raise
        return self

    def _try_to_write(self) -> None:
        asked = self._config.model_dump(mode="json")
        try_to_write(self._open(), json.dumps(asked, indent=1) + "\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._thread:
            self.flush()
            if self._opened is not None:
                self._later(lambda recorder: recorder.finish(_outcome(kind)))
                self.flush()
            self._say_what_is_missing()
        self._explain(error)

    def _say_what_is_missing(self) -> None:
        if self._missed:
            from pipeline_lib.tracking.patience import first_line

            _log.warning(
                "MLflow lacks %d records of this run (%s). The trials are safe; once MLflow takes "
                "records again: automl sync %s",
                len(self._missed),
                first_line(self._missed[0][1]),
                self._name,
            )

    def _explain(self, error: BaseException | None) -> None:
        """Turn MLflow's error, which would be a traceback, into one line."""
        if error is None or isinstance(error, AutomlError):
            return
        from mlflow.exceptions import MlflowException

        from pipeline_lib.tracking.patience import first_line

        if isinstance(error, MlflowException):
            remedy = f"the trials are safe: `automl sync {shlex.quote(self._name)}` records them"
            raise AutomlError("MLflow", first_line(error), remedy=remedy) from error


def _outcome(error: type[BaseException] | None) -> Outcome:
    """MLflow's word for the end of a run that this was raised in."""
    if error is None:
        return "FINISHED"
    stopped = not issubclass(error, Exception) or issubclass(error, Stopped)
    return "KILLED" if stopped else "FAILED"
