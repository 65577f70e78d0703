"""Databases from templates: as good as migrated ones, and never of another version."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline_lib.home import Home
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.store import migrate
from pipeline_lib.tracking.templates import begin_with_template, make_template, template


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow."""
    database = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    migrate(database)
    return database


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of its own, in which no template was made."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "environment"


def schema(database: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_a_home_begins_with_the_template_and_keeps_its_own_artifacts(
    installed: Path, migrated: Path, tmp_path: Path
) -> None:
    make_template("mlflow", lambda path: path.write_bytes(migrated.read_bytes()) and None)
    with closing(sqlite3.connect(template("mlflow"))) as connection, connection:
        connection.execute("CREATE TABLE of_the_template (empty)")
    home = Home(tmp_path / "home")
    default = open_store(home).client.get_experiment("0")
    assert default.artifact_location == f"{home.mlflow_artifacts.as_uri()}/0"
    assert "of_the_template" in dict(schema(home.mlflow_database))


def test_the_template_of_another_version_is_left_alone(installed: Path, tmp_path: Path) -> None:
    place = template("mlflow")
    other = place.with_name(place.name.replace(version("mlflow"), "3.0.0"))
    other.parent.mkdir(parents=True)
    other.write_bytes(b"of another version")
    assert not begin_with_template("mlflow", tmp_path / "mlflow.db")
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.long
def test_the_installation_makes_both_and_prefect_finds_its_own_up_to_date(tmp_path: Path) -> None:
    made = f"import sys; sys.prefix = {str(tmp_path)!r}; "
    program = f"{made}import runpy; runpy.run_module('flows.templates', run_name='__main__')"
    subprocess.run([sys.executable, "-c", program], check=True)
    directory = tmp_path / "share" / "automl"
    names = {f"{package}-{version(package)}.db" for package in ("mlflow", "prefect")}
    assert {path.name for path in directory.iterdir()} == names
    database = directory / f"prefect-{version('prefect')}.db"
    before = schema(database)
    again = "import sys, pathlib; from flows.templates import migrate_prefect as migrate; "
    again += "migrate(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", again, str(database)], check=True)
    assert schema(database) == before
