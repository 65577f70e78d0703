"""`automl run` gets a signal: what Prefect and MLflow say of it, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress

import pytest
from running_up import PROGRAMS, PROJECT, has_a_trial, wait_until
from test_notification import receiver

from pipeline_lib.files import acquire
from pipeline_lib.run.stopping import STOPPED

PATIENCE = 180


def start(home, name, *options, stderr=subprocess.PIPE):
    """A run whose first trial takes long: a whole pass of the chapter's network."""
    ours = ("PREFECT_", "MLFLOW_", "AUTOML_")
    others = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    command = [PROGRAMS / "automl", "run", "mnist", "--engine", "optuna", "--workers", "1"]
    command += ["--budget", "600s", "--ensemble", "1", "--json", "--name", name, *options]
    return subprocess.Popen(
        [*command, "--home", str(home.root)],
        cwd=PROJECT,
        env=others,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def asked(database, query):
    """The rows, none as long as there is no such table."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()
    return []


def in_mlflow(home):
    """How every run ended, that of a study before its search."""
    return [status for (status,) in asked(home.mlflow_database, "SELECT status FROM runs")]


def in_prefect(home, name):
    path = home.prefect / "prefect.db"
    [(state,)] = asked(path, f"SELECT state_type FROM flow_run WHERE name = '{name}'")
    return state


def wait_until_server_ends(home):
    """It has written all it was told by then."""
    wait_until(lambda: (lock := acquire(home.prefect / "users")) and (os.close(lock) or True), 60)


@pytest.mark.slow
def test_a_run_without_a_trial_ends_at_once(fresh_home):
    with receiver() as server:
        options = ["--space", "book", "--notify", server.address]
        with start(fresh_home, "vain", *options) as process:
            wait_until(lambda: in_mlflow(fresh_home) == ["RUNNING"], PATIENCE)
            process.send_signal(signal.SIGTERM)
            result, said = process.communicate()
        assert process.returncode == STOPPED
        assert result == ""
        assert "nothing to evaluate" in said
        assert "Traceback" not in said
        assert [heard["state"] for _, heard in server.heard] == ["cancelled"]
    assert in_mlflow(fresh_home) == ["KILLED"]
    wait_until_server_ends(fresh_home)
    assert in_prefect(fresh_home, "vain") == "CANCELLED"


@pytest.mark.long
def test_a_run_with_a_trial_is_finished_also_when_nobody_reads_its_lines(fresh_home):
    reading, writing = os.pipe()
    with start(fresh_home, "early", stderr=writing) as process:
        os.close(writing)
        os.close(reading)
        wait_until(lambda: has_a_trial(fresh_home, "early"), PATIENCE)
        time.sleep(0.5)  # the listeners hear of it
        process.send_signal(signal.SIGINT)  # after SIGTERM a busy machine may take too long
        result, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(result)["name"] == "early"
    assert set(in_mlflow(fresh_home)) == {"FINISHED"}
    wait_until_server_ends(fresh_home)
    assert in_prefect(fresh_home, "early") == "COMPLETED"


@pytest.mark.long
def test_a_second_signal_ends_a_run_that_keeps_its_trials(fresh_home):
    with start(fresh_home, "twice") as process:
        wait_until(lambda: has_a_trial(fresh_home, "twice"), PATIENCE)
        time.sleep(0.5)  # the listeners hear of it
        process.send_signal(signal.SIGINT)
        while "Stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        result, said = process.communicate()
    assert (process.returncode, result) == (STOPPED, "")
    assert "twice to continue" in said
    assert in_mlflow(fresh_home)[0] == "KILLED"
    assert "RUNNING" not in in_mlflow(fresh_home)
    wait_until_server_ends(fresh_home)
    assert in_prefect(fresh_home, "twice") == "CANCELLED"
