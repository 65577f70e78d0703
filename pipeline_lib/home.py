"""Where state lives: one directory, `AUTOML_HOME` (default `.automl/`)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.errors import ConfigurationError, HomeError

RUN = "run.json"
"""File of a study: what its run was asked for, and which data it sees."""
LOCK = ".lock"
"""File of a study: held by the run that searches it."""


def user_path(where: str, text: str) -> Path:
    """The path that a user wrote, absolute and with `~` expanded.

    Raises:
        ConfigurationError: It is none.
    """
    if not text.strip():
        raise ConfigurationError(where, "is no path", value=text, remedy="name a directory")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # the home of a user who has none, or is unknown
        remedy = "write the path from / on"
        raise ConfigurationError(where, "has no such ~", value=text, remedy=remedy) from error


_ANOTHER = "choose another with --home DIR or AUTOML_HOME"
_MISREAD = re.compile(r"[%?#\\\x00-\x1f\x7f\ud800-\udfff]")
"""What addresses of databases and files misread, and bytes that are no UTF-8."""


@dataclass(frozen=True)
class Home:
    """The layout of the state directory. Nothing is created until a caller writes.

    The directory may be moved or copied as a whole while nothing uses it. `root` becomes absolute,
    and `~` in it is expanded.

    Raises:
        HomeError: Its path has a character that SQLAlchemy, MLflow or Prefect would misread.
        ConfigurationError: It is no path.
    """

    root: Path

    def __post_init__(self) -> None:
        """Refuse a path that would lead elsewhere."""
        root = user_path("home", str(self.root))
        if misread := _MISREAD.search(str(root)):
            shown = str(root).encode(errors="backslashreplace").decode()
            problem = f"has a character in its path that databases misread ({misread[0]!a})"
            raise HomeError("home", problem, value=shown, remedy=_ANOTHER)
        object.__setattr__(self, "root", root)

    @classmethod
    def from_environment(cls) -> Home:
        """The directory named by `AUTOML_HOME`, else `.automl/` below the current one.

        Raises:
            UserError: Its path cannot be used.
        """
        return cls(Path(os.environ.get("AUTOML_HOME") or ".automl"))

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
        """Every evaluation on a test set, one JSON object a line."""
        return self.root / "test-set-ledger.jsonl"

    @property
    def test_figures(self) -> Path:
        """What those evaluations gave: a JSON file for each model and test set."""
        return self.root / "test-set-figures"

    @property
    def reproductions(self) -> Home:
        """A home of its own for what `automl reproduce` trains: no list of runs has it."""
        return Home(self.root / "reproductions")

    def family(self, sha256: str) -> Path:
        """The copy of a user's family, by the digest of its file."""
        return self.root / "families" / f"{sha256}.py"

    def study(self, name: str) -> Path:
        """The storage and the trials' files of one study."""
        return self.root / "studies" / name

    def run(self, name: str) -> Path:
        """What a run leaves for people: leaderboard, diagrams, tables."""
        return self.root / "runs" / name

    def written(self, path: Path) -> str:
        """A path as records keep it: relative to the directory where it lies below it."""
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def read(self, path: str) -> Path:
        """The path that a record kept; arrays that an older version named follow the directory."""
        kept = self.root / path
        if not kept.exists() and self.data.name in (parts := Path(path).parts):
            tail = parts[len(parts) - parts[::-1].index(self.data.name) :]
            return self.data.joinpath(*tail)
        return kept

    def ensure_writable(self) -> None:
        """Create the directory, or say why it cannot be used.

        Raises:
            HomeError: It is no directory, or cannot be created or written.
        """
        existing = self.root
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise HomeError("home", "is not a directory", value=str(existing), remedy=_ANOTHER)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".write-probe-{os.getpid()}"
            probe.touch()
            probe.unlink(missing_ok=True)  # another thread of this process may probe as well
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise HomeError("home", problem, value=str(self.root), remedy=_ANOTHER) from error


def settle_home_directory() -> None:
    """Name a home directory where the user has none, as in a container: Prefect asks for one.

    The name is that which Debian gives users without one: nothing is there, and nothing is written.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/nonexistent"
