"""Tracking stores that cannot be used, refused before a search begins."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import HomeError, ServerError
from pipeline_lib.home import Home
from pipeline_lib.run.run import Run
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.address import _heads, check_address


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A store that is only created: its migrations take seconds."""
    home = Home(tmp_path_factory.mktemp("blank"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(home)
    return home.mlflow_database


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Home(tmp_path / "home")


def older(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cfd24bdc0731'")
        connection.commit()


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("{place}", "is a folder"),
        ("./mlruns", "is a folder"),
        ("file://{place}", "is a folder"),
        ("htp://127.0.0.1:5000", "of no kind"),
        ("http://127.0.0.1:9", "does not answer"),
        ("http://me:secret@127.0.0.1:9", "does not answer"),
        ("http://", "does not answer"),
        ("http://[::1", "is no address"),
        ("sqlite:///{place}/absent/runs.db", "cannot be created"),
        ("sqlite:///{place}/text", "not a database"),
        ("sqlite:///{place}/other.db", "something else"),
        ("sqlite:///{place}/older.db", "another version"),
    ],
)
def test_what_mlflow_could_not_use_is_refused_without_loading_it(
    uri, word, home, blank, tmp_path, monkeypatch
):
    (tmp_path / "text").write_text("no database " * 100)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE accounts (id)")
    shutil.copy(blank, tmp_path / "older.db")
    older(tmp_path / "older.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(place=tmp_path))
    with pytest.raises(ServerError, match=word) as raised:
        Run.begin(RunConfig(), home)
    assert raised.value.where == "MLFLOW_TRACKING_URI"
    assert "secret" not in str(raised.value)
    assert not home.root.exists()


def test_what_mlflow_can_use_or_will_judge_itself_is_left_to_it(home, blank, tmp_path, monkeypatch):
    shutil.copy(blank, tmp_path / "runs.db")
    for uri in (
        f"sqlite:///{tmp_path / 'runs.db'}",
        f"sqlite:///{tmp_path / 'new.db'}",
        "postgresql+psycopg://host/runs",
        "databricks",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        check_address(home)
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("spoil", [older, lambda path: path.write_bytes(b"")])
def test_a_database_of_the_home_that_cannot_be_used(spoil, home, blank):
    home.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(blank, home.mlflow_database)
    check_address(home)
    spoil(home.mlflow_database)
    with pytest.raises(HomeError, match="move that file away"):
        check_address(home)


def test_a_busy_database_is_no_broken_one(home, blank):
    home.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(blank, home.mlflow_database)
    with closing(sqlite3.connect(home.mlflow_database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        check_address(home)


def test_the_newest_form_of_the_tables_is_the_one_that_mlflow_writes(blank):
    with closing(sqlite3.connect(blank)) as connection:
        assert set(connection.execute("SELECT * FROM alembic_version")) == {(*_heads(),)}


def test_a_store_that_takes_no_files_is_refused_before_the_search(
    home, blank, tmp_path, monkeypatch
):
    """As a server does whose artifacts lie in a folder of its own machine."""
    shutil.copy(blank, tmp_path / "runs.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs.db'}")
    client = open_store(home).client
    client.create_experiment("automl/mnist", "file:///proc/nowhere")
    run = Run.begin(RunConfig(engine="optuna"), home, "first")
    with pytest.raises(ServerError, match="takes no files"), run.recording():
        raise AssertionError("not reached")
    with run.locked():  # the name is free again
        pass
