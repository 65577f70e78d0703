"""Where MLflow keeps what is recorded: SQLite and plain files, or the server a user names."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline_lib.errors import HomeError, ServerError
from pipeline_lib.files import locked
from pipeline_lib.home import Home
from pipeline_lib.isolation import reach_loopback_directly
from pipeline_lib.tracking import relocation
from pipeline_lib.tracking.address import VARIABLE, artifacts_beside, without_password
from pipeline_lib.tracking.patience import Patience, PatientClient
from pipeline_lib.tracking.templates import begin_with_template

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

PATIENCE_SECONDS = 90.0
"""How long a store may be away, locked or unreachable, before writing to it is given up."""
UI_VARIABLE = "AUTOML_MLFLOW_UI"
"""Environment variable: the address of MLflow's UI, set by `automl up` for its runs."""
_answered: set[str] = set()  # servers that have: one that is away after that is waited for


@dataclass(frozen=True)
class Store:
    """A tracking store that can be written."""

    uri: str
    registry_uri: str
    artifacts: Path | None  # None: the server decides where artifacts go

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client for this store alone; it waits where the store is away for a while."""
        return cast("MlflowClient", PatientClient(self.plain_client, self.patience))

    @cached_property
    def patience(self) -> Patience:
        """What the client waits with."""
        return Patience(PATIENCE_SECONDS)

    @cached_property
    def plain_client(self) -> MlflowClient:
        """The client without patience; it touches no global state of MLflow either."""
        _quieten_mlflow()
        from mlflow import MlflowClient

        if self.artifacts is not None:
            _commit_without_sync()
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.registry_uri)

    def artifact_location(self, folder: str) -> str | None:
        """Where the artifacts of one experiment go, as MLflow wants to be told."""
        return None if self.artifacts is None else (self.artifacts / folder).as_uri()

    def keep(self, run: RunInfo, directory: Path, folder: str) -> None:
        """Put the files of a directory into a folder of a run's artifacts, where possible as links.

        They must never be written again in place: a link shows the same bytes under two names.
        """
        place = urlsplit(run.artifact_uri)
        if self.artifacts is None or place.scheme != "file":
            self.client.log_artifacts(run.run_id, str(directory), folder)
        else:  # the client reads the run once more, a fifth of what a trial costs
            kept = Path(url2pathname(place.path), folder)
            shutil.copytree(directory, kept, dirs_exist_ok=True, copy_function=_link)


def open_store(home: Home) -> Store:
    """The store of this state directory, created when it is not there.

    `MLFLOW_TRACKING_URI`, where the user has set it, wins.

    Raises:
        HomeError: The database is none, is of another MLflow, or cannot be written.
        ServerError: The server that `MLFLOW_TRACKING_URI` names does not answer.
    """
    if uri := os.environ.get(VARIABLE):
        store = Store(uri, os.environ.get("MLFLOW_REGISTRY_URI") or uri, artifacts_beside(uri))
        _check_remote(store)
        return store
    database = home.mlflow_database
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with locked(database.with_suffix(".lock")):
            if not database.exists():
                _create(database, home.mlflow_artifacts)
            relocation.follow(database, home.mlflow_artifacts)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, PermissionError) or _is_anothers(database):
            problem = "may not be written by this user"
            remedy = "give the home back with chown -R, or choose another with --home DIR"
            raise HomeError("mlflow", problem, value=str(database), remedy=remedy) from error
        raise _unusable(database, str(error)) from error
    store = Store(f"sqlite:///{database}", f"sqlite:///{database}", home.mlflow_artifacts)
    _check_local(store, database)
    return store


def _create(database: Path, artifacts: Path) -> None:
    """Build the database aside, so that a start that is killed leaves none half-made."""
    aside = database.with_suffix(".new")
    aside.unlink(missing_ok=True)
    if not begin_with_template("mlflow", aside):
        migrate(aside)
    with closing(sqlite3.connect(aside)) as connection, connection:
        # The experiment that MLflow makes itself, "Default", is to keep its artifacts here.
        place, now = f"{artifacts.as_uri()}/0", int(time.time() * 1000)
        connection.execute(
            "UPDATE experiments SET artifact_location = ?, creation_time = ?, last_update_time = ?",
            [place, now, now],
        )
    with closing(sqlite3.connect(aside)) as connection:
        # The UI reads while trials are written; remembered in the file.
        connection.execute("PRAGMA journal_mode=WAL")
    aside.replace(database)


def migrate(database: Path) -> None:
    """Make an empty database of MLflow's tracking store."""
    _quieten_mlflow()
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    open_sql: Callable[..., SqlAlchemyStore] = SqlAlchemyStore  # whose signature has no types
    open_sql(f"sqlite:///{database}", database.parent.as_uri()).engine.dispose()


def _commit_without_sync() -> None:
    """Let commits to our SQLite file wait for no disk: six a trial, half of what a trial costs.

    With its write-ahead log nothing is lost when a process is killed. A power failure may take the
    last records, never the database; `automl sync` writes them again.
    """
    from sqlalchemy import Engine, event

    if not event.contains(Engine, "connect", _relax):
        event.listen(Engine, "connect", _relax)


def _relax(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        files = [Path(row[2]).name for row in connection.execute("PRAGMA database_list")]
        if Home(Path("/")).mlflow_database.name in files:
            connection.execute("PRAGMA synchronous=NORMAL")


def _link(source: str, target: str) -> None:
    """One file under two names; a copy where the file system has no such thing."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _check_local(store: Store, database: Path) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.plain_client.search_experiments(max_results=1)
    except MlflowException as error:
        raise _unusable(database, str(error.message)) from error


def _check_remote(store: Store) -> None:
    reach_loopback_directly(os.environ)
    # MLflow retries a refused connection for minutes; the user waits at the terminal.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.exceptions import MlflowException

    client = store.client if store.uri in _answered else store.plain_client
    try:
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
        _answered.add(store.uri)
    except MlflowException as error:
        shown = without_password(store.uri)
        problem = f"MLflow cannot use it ({str(error.message).replace(store.uri, shown)})"
        remedy = "start that server, or unset the variable to record in the state directory"
        raise ServerError(VARIABLE, problem, value=shown, remedy=remedy) from error


def _is_anothers(database: Path) -> bool:
    return database.is_file() and not os.access(database, os.W_OK, effective_ids=True)


def _unusable(database: Path, why: str) -> HomeError:
    remedy = "move that file away to start a new one, or choose another with --home DIR"
    return HomeError("mlflow", f"cannot be used ({why})", value=str(database), remedy=remedy)


def server_named() -> str | None:
    """The MLflow server that `MLFLOW_TRACKING_URI` names; None where it names another store."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    return uri if urlsplit(uri).scheme in {"http", "https"} else None


def ui_address() -> str | None:
    """The address of the MLflow pages that show what this process records; None without any."""
    server = os.environ.get(UI_VARIABLE) or server_named()
    return without_password(server) if server else None


def _quieten_mlflow() -> None:
    """Keep MLflow's notes on its own housekeeping off the terminal; warnings still show."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow.store.db.utils", "mlflow.pyfunc", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").addFilter(_without_trace)


def _without_trace(record: logging.LogRecord) -> bool:
    """Whether a record may show: the trace of a failed statement may not, since it is raised."""
    return record.exc_info is None
