"""The tracking store, tried before a search: what it would refuse hours later is refused at once.

MLflow takes seconds to load, so what can be seen without it is looked at without it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline_lib.errors import HomeError, ServerError, UserError
from pipeline_lib.home import Home
from pipeline_lib.probe import status

if TYPE_CHECKING:
    from pipeline_lib.tracking.recorder import Recorder

VARIABLE = "MLFLOW_TRACKING_URI"
_SECONDS, _LOCK_SECONDS = 10.0, 1.0  # for an answer of a server; for another writer
_DATABASES = ("postgresql", "mysql", "mssql", "databricks")  # which MLflow itself opens
_REMEDY = "unset it to record in the state directory"
_REVISION = re.compile(r"^(down_)?revision = ['\"](\w+)['\"]", re.MULTILINE)


def check_address(home: Home) -> None:
    """Refuse a tracking store that MLflow could not use, without loading MLflow.

    Raises:
        ServerError: The server that `MLFLOW_TRACKING_URI` names does not answer, or it is no
            address of one.
        HomeError: The database of the state directory is none, or is of another MLflow.
    """
    uri = os.environ.get(VARIABLE)
    if not uri:
        _check_home(home)
        return
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise _refusal(uri, "is no address") from None
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("http", "https"):
        _check_server(uri)
    elif scheme == "sqlite":
        problem = database_problem(_file_of(uri))
        if problem:
            raise _refusal(uri, problem)
    elif scheme not in _DATABASES and uri != "databricks":
        kind = "is a folder, which MLflow 3 no longer takes" if scheme in ("", "file") else ""
        raise _refusal(uri, kind or "is of no kind that MLflow knows")


def artifacts_beside(uri: str) -> Path | None:
    """Where the artifacts of a user's database in SQLite go; None where MLflow's server decides.

    MLflow's own choice is the working directory, which is another one for each way to run.
    """
    return _file_of(uri).absolute().parent / "mlruns" if uri.startswith("sqlite") else None


def _file_of(uri: str) -> Path:
    return Path(re.sub(r"^[^:]*:///|[?#].*", "", uri))


def database_problem(path: Path) -> str:
    """Why MLflow could not use a file of SQLite; empty where it could, or would create it."""
    if not path.exists():
        is_place = path.parent.is_dir() and os.access(path.parent, os.W_OK)
        return "" if is_place else f"cannot be created in {path.parent}"
    try:
        with closing(sqlite3.connect(path, _LOCK_SECONDS)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if ("alembic_version",) not in tables:
                return "holds something else than MLflow's tables" if tables else ""
            (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            connection.execute("BEGIN IMMEDIATE")  # whether it can be written
            connection.rollback()
    except (sqlite3.Error, TypeError) as error:
        busy = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        return "" if busy else f"cannot be used ({error})"
    if found not in _heads():
        return "was written by another version of MLflow (`mlflow db upgrade` brings it up to date)"
    return ""


@cache
def _heads() -> set[str]:
    """The newest form of the tables that the installed MLflow knows."""
    package = find_spec("mlflow")
    assert package is not None and package.origin is not None
    versions = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    known: set[str] = set()
    passed: set[str] = set()
    for file in versions.glob("*.py"):
        for is_down, revision in _REVISION.findall(file.read_text(encoding="utf-8")):
            (passed if is_down else known).add(revision)
    return known - passed


def try_to_write(recorder: Recorder, text: str) -> None:
    """Keep what the run was asked for as a file of it: at the end, files are all that matters.

    Raises:
        ServerError: MLflow's server keeps files where they cannot be written from here.
    """
    try:
        recorder.log_text(text, "configuration.json")
    except UserError:
        raise
    except Exception as error:  # of MLflow, of the disk, or of any client of a cloud
        problem = f"takes no files ({type(error).__name__}: {str(error).splitlines()[0]})"
        raise _refusal(os.environ.get(VARIABLE, ""), problem) from error


def without_password(uri: str) -> str:
    """The address without the user name and password that it may carry."""
    netloc = urlsplit(uri).netloc
    return uri.replace(netloc, netloc.rpartition("@")[2], 1) if "@" in netloc else uri


def _check_home(home: Home) -> None:
    database = home.mlflow_database
    if not database.exists():
        return
    if not os.access(database, os.W_OK, effective_ids=True):
        problem = "may not be written by this user"
        remedy = "give the home back with chown -R, or choose another with --home DIR"
        raise HomeError("mlflow", problem, value=str(database), remedy=remedy)
    problem = database_problem(database) if database.stat().st_size else "is empty"
    if problem:
        remedy = "move that file away to start a new one, or choose another with --home DIR"
        raise HomeError("mlflow", problem, value=str(database), remedy=remedy)


def _check_server(uri: str) -> None:
    parts = urlsplit(uri)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    try:
        status(f"{bare.rstrip('/')}/health", {}, _SECONDS)
    except OSError as error:
        raise _refusal(uri, f"does not answer ({error})", "start that server, or ") from error


def _refusal(uri: str, problem: str, first: str = "") -> ServerError:
    try:
        shown = without_password(uri)
    except ValueError:
        shown = uri
    return ServerError(VARIABLE, problem, value=shown, remedy=first + _REMEDY)
