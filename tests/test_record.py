"""Recording while MLflow fails: a locked database, a server that dies and comes back."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager

import pytest
import sqlalchemy
from mlflow_server import MlflowServer
from test_tracking import a_trial

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import AutomlError, ConfigurationError, ServerError, Stopped
from pipeline_lib.home import Home
from pipeline_lib.run.run import Run, begin, load_data, search
from pipeline_lib.run.sync import sync
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.tracking import open_store, store
from pipeline_lib.tracking.record import Record
from pipeline_lib.tracking.recorder import runs_of_study
from pipeline_lib.trial import TrialState

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("blank"))
    open_store(home)
    return home


@pytest.fixture
def home(blank, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(tmp_path / "home")
    home.mlflow_database.parent.mkdir(parents=True)
    home.mlflow_database.write_bytes(blank.mlflow_database.read_bytes())
    open_store(home)  # its addresses follow
    return home


@pytest.fixture
def run(home):
    return Run.begin(RunConfig(engine="optuna", trials=1, workers=1, first_rung=100), home, "first")


@contextmanager
def locked(home):
    """Nobody else can write MLflow's database meanwhile."""
    with closing(sqlite3.connect(home.mlflow_database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def impatient(monkeypatch):
    """MLflow waits a fifth of a second for a lock instead of 20, and we not at all."""
    from mlflow.store.db import utils

    class Hasty:
        def __getattr__(self, name):
            return getattr(sqlalchemy.sql, name)

        def text(self, statement):
            return sqlalchemy.sql.text(statement.replace("= 20000", "= 200"))

    monkeypatch.setattr(utils, "sql", Hasty())
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.0)


def numbers_in_mlflow(home):
    client = open_store(home).plain_client
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, "tags.`automl.role` = 'trial'")
    assert all(run.info.status in ("FINISHED", "FAILED") for run in runs)
    return sorted(int(run.data.tags["automl.trial"]) for run in runs)


def test_a_lock_that_passes_is_waited_out(home, run, impatient, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 60.0)
    with run.recording() as record:
        record.flush()
        with locked(home):
            record.trial(a_trial(0))
            time.sleep(1.5)  # long enough for tries that fail
            assert numbers_in_mlflow(home) == []
        record.flush()
        assert numbers_in_mlflow(home) == [0]
    assert record._missed == []


def everything_in_mlflow(home):
    """Runs by name, with their numbers, parameters and status."""
    client = open_store(home).plain_client
    experiments = [found.experiment_id for found in client.search_experiments()]
    return sorted(
        (run.info.run_id, run.info.status, run.data.metrics, run.data.params)
        for run in client.search_runs(experiments)
    )


def test_a_search_in_a_locked_database_keeps_its_trials_and_sync_records_them(
    home, run, impatient, mnist, test_home, monkeypatch, caplog
):
    """MLflow takes nothing from beginning to end: the search does not notice."""
    home.data.symlink_to(test_home.data)
    with locked(home), run.recording() as record:
        split = load_data(run)
        begin(run, split, record)
        request = run.request(split, "optuna", 1, time.monotonic() + 60)
        trials = search(OptunaEngine(), request, threading.Event(), record.trial)
    assert trials[0].model is not None
    assert "automl sync first" in caplog.messages[-1]
    assert "database is locked" in caplog.messages[-1]
    assert numbers_in_mlflow(home) == []

    numbers = [trial.number for trial in trials]
    assert sync(home, "first") == {"optuna": len(trials)}
    assert numbers_in_mlflow(home) == numbers
    once = everything_in_mlflow(home)
    assert sync(home, "first") == {"optuna": len(trials)}
    assert everything_in_mlflow(home) == once
    weights = list(home.mlflow_artifacts.rglob("weights.safetensors"))
    assert len(weights) == len(trials)


def test_a_run_whose_mlflow_stays_away_ends_with_one_line(home, run, impatient):
    with (
        pytest.raises(
            AutomlError, match=r"MLflow: .*database is locked.*automl sync first"
        ) as said,
        run.recording() as record,
    ):
        record.flush()
        with locked(home):
            record.recorder.log_metrics({"test_accuracy": 0.5})
    assert "\n" not in str(said.value)


def how_it_ended(home):
    """The status of the pipeline's run and of its search."""
    runs = runs_of_study(open_store(home), "first")
    return [run.info.status for run in runs if run.data.tags["automl.role"] != "trial"]


@pytest.mark.parametrize("error", [Stopped("first", "stopped"), KeyboardInterrupt()])
def test_a_run_that_is_stopped_was_killed_and_has_its_trials(home, run, error):
    with pytest.raises(type(error)), run.recording() as record:
        record.trial(a_trial(0))
        raise error
    assert how_it_ended(home) == ["KILLED", "KILLED"]
    assert numbers_in_mlflow(home) == [0]


def test_a_run_that_fails_says_so(home, run):
    with pytest.raises(ZeroDivisionError), run.recording() as record:
        record.trial(a_trial(0))
        raise ZeroDivisionError
    assert how_it_ended(home) == ["FAILED", "FAILED"]


def test_a_run_whose_process_ends_at_once_has_what_it_queued(home, run, impatient):
    record = Record(run.home, run.name, run.config)
    record.trial(a_trial(0))
    record.flush()
    with locked(home):
        record.trial(a_trial(1))
        record.flush()  # in vain
    record.trial(a_trial(2))
    record.close_killed()
    assert how_it_ended(home) == ["KILLED", "KILLED"]
    assert numbers_in_mlflow(home) == [0, 1, 2]
    record.__exit__(None, None, None)
    record.close_killed()  # it was closed: nothing happens
    assert how_it_ended(home) == ["FINISHED", "FINISHED"]


def test_a_name_is_that_of_one_run_at_a_time(home, run):
    with run.recording():
        going_on = "name: is that of a run that is going on"
        with pytest.raises(ConfigurationError, match=going_on), run.recording():
            pass
        with pytest.raises(ConfigurationError, match="is not there"):
            sync(home, "first")
    with run.recording():
        pass


@pytest.mark.parametrize("name", ["../first", "", "nowhere", "a/b"])
def test_sync_of_what_is_no_run(home, name):
    before = sorted(home.root.rglob("*"))
    with pytest.raises(ConfigurationError):
        sync(home, name)
    assert sorted(home.root.rglob("*")) == before


@pytest.mark.long
def test_a_server_that_is_killed_and_comes_back_gets_every_trial_once(
    blank, home, run, tmp_path, monkeypatch
):
    database = tmp_path / "server.db"
    database.write_bytes(blank.mlflow_database.read_bytes())
    server = MlflowServer(tmp_path, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    server.start()
    try:
        with run.recording() as record:
            record.trial(a_trial(0))
            record.flush()
            server.kill()
            for number in range(1, 6):
                record.trial(a_trial(number))
            time.sleep(2)
            server.start()
            record.flush()
            assert numbers_in_mlflow(home) == list(range(6))
    finally:
        server.kill()
    assert record._missed == []


@pytest.mark.long
def test_a_server_that_has_answered_is_waited_for_also_by_who_opens_it_anew(
    blank, tmp_path, monkeypatch
):
    """The registry opens the store again hours after the search did."""
    database = tmp_path / "server.db"
    database.write_bytes(blank.mlflow_database.read_bytes())
    server = MlflowServer(tmp_path, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 600.0)
    with pytest.raises(ServerError, match="MLFLOW_TRACKING_URI: MLflow cannot use it"):
        open_store(blank)  # one that never answered is said at once
    try:
        server.start()
        open_store(blank)
        server.kill()
        again = threading.Timer(2, server.start)
        again.start()
        assert open_store(blank).client.search_experiments()
        again.join()
    finally:
        server.kill()


def test_mlflow_is_left_alone_until_the_first_trial_trains(home, run):
    home.mlflow_database.unlink()
    with run.recording() as record:
        opened = record._thread.submit(home.mlflow_database.exists)
        time.sleep(0.2)
        assert not opened.done()
        record.trial(a_trial(study="first", state=TrialState.RUNNING))
        assert opened.result()
