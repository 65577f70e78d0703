"""The file that an Optuna study is kept in, and what is mended of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def journal(directory: Path) -> Path:
    """The storage file of the study kept in a directory."""
    return directory / "study.journal"


def open_storage(directory: Path) -> JournalStorage:
    """Optuna's own storage of the study kept in a directory."""
    return JournalStorage(WholeLines(journal(directory)))


class WholeLines(JournalFileBackend):
    """Takes back what a full disk took of a line: the next one would be joined to it.

    Optuna reads nothing of a journal that has such a line in its middle. A study has one writer.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all lines, or none."""
        size = self._path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            os.truncate(self._path, size)
            raise


def tidy(path: Path) -> None:
    """Remove what a kill or a power failure left: a line without its end, a lock without owner."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        written = path.read_bytes()
        whole = written.rfind(b"\n") + 1
        if whole < len(written):
            os.truncate(path, whole)
