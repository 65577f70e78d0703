"""Where state lives: one directory, `AUTOML_HOME` (default `.automl/`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.errors import HomeError


@dataclass(frozen=True)
class Home:
    """The layout of the state directory. Nothing is created until a caller writes."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The directory named by `AUTOML_HOME`, else `.automl/` below the current one."""
        return cls(Path(os.environ.get("AUTOML_HOME") or ".automl").absolute())

    @property
    def data(self) -> Path:
        """Data sets in torchvision's layout, and the arrays read from them."""
        return self.root / "data"

    @property
    def prefect(self) -> Path:
        """Prefect's own home: its database and results."""
        return self.root / "prefect"

    @property
    def mlflow_database(self) -> Path:
        """The SQLite file of the MLflow tracking store."""
        return self.root / "mlflow" / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow keeps artifacts."""
        return self.root / "mlflow" / "artifacts"

    @property
    def engines(self) -> Path:
        """Environments that engines build for themselves."""
        return self.root / "engines"

    @property
    def ledger(self) -> Path:
        """Every reading of a test set, one JSON object a line."""
        return self.root / "test-set-ledger.jsonl"

    def study(self, name: str) -> Path:
        """The storage and the trials' files of one study."""
        return self.root / "studies" / name

    def run(self, name: str) -> Path:
        """What a run leaves for people: leaderboard, diagrams, tables."""
        return self.root / "runs" / name

    def ensure_writable(self) -> None:
        """Create the directory, or say why it cannot be used.

        Raises:
            HomeError: It is no directory, or cannot be created or written.
        """
        existing = self.root
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        remedy = "choose another with --home DIR or AUTOML_HOME"
        if not existing.is_dir():
            raise HomeError("home", "is not a directory", value=str(existing), remedy=remedy)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".write-probe-{os.getpid()}"
            probe.touch()
            probe.unlink(missing_ok=True)  # another thread of this process may probe as well
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise HomeError("home", problem, value=str(self.root), remedy=remedy) from error
