"""The log of a run: a file of its own, whatever else listens."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

from pipeline_lib.errors import UserError
from pipeline_lib.formats import shorten_home
from pipeline_lib.home import Home

_LOGGERS = ("automl", "prefect")
_log = logging.getLogger("automl")


def log_path(home: Home, name: str) -> Path:
    """Where the log of a run is."""
    return home.run(name) / "run.log"


def logs_of(home: Home, name: str) -> list[Path]:
    """The log of a run, where anything was said."""
    return [path for path in (log_path(home, name),) if path.exists()]


@contextmanager
def logged(home: Home, name: str) -> Iterator[None]:
    """Append what is said, by us and by Prefect, to the log of a run.

    Nothing is created before something is said. An error that the user cannot mend is written down
    with its traceback, and gets a note that names the file.
    """
    path = log_path(home, name)
    handler = _LogFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Discreet("%(asctime)s %(levelname)-7s %(speaker)s: %(message)s"))
    with ExitStack() as stack:
        stack.callback(handler.close)
        for logger in map(logging.getLogger, _LOGGERS):
            logger.addHandler(handler)
            stack.callback(logger.removeHandler, handler)
        stack.enter_context(_heard())
        try:
            yield
        except BaseException as error:
            if not isinstance(error, UserError):
                _keep(handler, error)
                error.add_note(f"log: {path}")
            raise


@contextmanager
def _heard() -> Iterator[None]:
    """Let what `automl` says of its progress be heard, on stderr where nobody listens yet.

    A level that the user has set stays: `logging.getLogger("automl").setLevel("WARNING")`.
    """
    level = _log.level
    listener = logging.StreamHandler(sys.stderr)
    others = [h for logger in (_log, logging.getLogger()) for h in logger.handlers]
    if all(isinstance(handler, _LogFile) for handler in others):
        _log.addHandler(listener)
    if level == logging.NOTSET:
        _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.setLevel(level)
        _log.removeHandler(listener)


def _keep(handler: logging.Handler, error: BaseException) -> None:
    trace = type(error), error, error.__traceback__
    said = f"{type(error).__name__}: {error}"
    handler.handle(_log.makeRecord(_log.name, logging.ERROR, "", 0, said, (), trace))


class _LogFile(logging.FileHandler):
    """Creates the directory with the file, at the first line; a full disk costs lines, no run."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # its name in logging
        """Say nothing of a line that could not be written."""

    def close(self) -> None:
        with suppress(OSError):
            super().close()

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


class _Discreet(logging.Formatter):
    """Writes the user's home directory as `~`, and says which stage Prefect speaks of."""

    def format(self, record: logging.LogRecord) -> str:
        record.speaker = getattr(record, "task_run_name", record.name)
        return shorten_home(super().format(record))
