"""Deployment parameters that cannot be, as people and programs send them to Prefect's server."""

import json
import sqlite3
import urllib.error
import urllib.request

import pytest
from running_up import running_up, wait_until

from pipeline_lib.home import Home

pytestmark = pytest.mark.long

REFUSED = [
    {"budget_seconds": -5},
    {"budget_seconds": 0},
    {"budget_seconds": "an hour"},
    {"budget_seconds": [60]},
    {"trials": 0},
    {"trials": 2.5},
    {"workers": -1},
    {"sampler": "grid"},
    {"promote": "always"},
    {"seed": "seven"},
    {"seed": -1},
    {"validation_share": 0},
    {"validation_share": 1},
    {"validation_share": 1.5},
    {"trial_seconds": 0},
    {"trial_memory": -1},
    {"pruner": "rung"},
    {"set": 5},
    {"name": 5},
    {"dataset": None},
    {"engine": "optunna"},
]
"""Not a run is made: the schema of the parameters says no, with a code from 400 on."""

FAILED = [
    ({"name": "../../etc"}, "ConfigurationError: name"),
    ({"name": ""}, "ConfigurationError: name"),
    ({"dataset": "mnsit"}, "ConfigurationError: dataset"),
    ({"data_root": "/does/not/exist"}, "DataError: /does/not/exist/"),
    ({"engine": "optuna", "space": "tiny_cs"}, "ConfigurationError: space"),
    ({"set": ["wide"]}, "ConfigurationError: set"),
]
"""The schema lets them pass; the run fails at once, with the line that `automl run` says."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_up(Home(tmp_path_factory.mktemp("parameters") / "home")) as running:
        yield running


def test_the_schema_refuses(running):
    of_mnist = {"deployments": {"name": {"any_": ["mnist"]}}}
    before = running.ask("flow_runs/count", of_mnist)
    for parameters in REFUSED:
        (name,) = parameters
        status, said = create_run(running, parameters)
        assert 400 <= status < 500, parameters
        assert f"Validation failed for field '{name}'." in said["detail"]
        assert len(said["detail"].splitlines()) == 1
    assert running.ask("flow_runs/count", of_mnist) == before
    nothing_was_written(running.home)


def test_prefects_own_command_says_why(running):
    done = running.deploy_run("--param budget_seconds=-5")
    assert done.returncode == 1
    assert "Validation failed for field 'budget_seconds'" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_run_that_cannot_be_fails_with_one_line_and_writes_nothing(running):
    for parameters, begin in FAILED:
        status, run = create_run(running, parameters)
        assert status == 201
        wait_until(lambda made=run: state_of(running, made)["type"] in {"FAILED", "CRASHED"}, 600)
        message = state_of(running, run)["message"]
        assert message.startswith(f"Flow run encountered an exception: {begin}"), message
        assert len(message.splitlines()) == 1
        nothing_was_written(running.home)


def state_of(running, run):
    with urllib.request.urlopen(f"{running.api_url}/flow_runs/{run['id']}") as response:
        return json.load(response)["state"]


def nothing_was_written(home):
    """No study, no run, no reading of a test set, nothing in MLflow."""
    assert {path.name for path in home.root.iterdir()} == {"prefect", "mlflow"}
    assert not list(home.mlflow_artifacts.iterdir())
    with sqlite3.connect(f"file:{home.mlflow_database}?mode=ro", uri=True) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    database.close()


def create_run(running, parameters):
    """The number of the answer, and what it says.

    A 503 says that SQLite was busy; nothing was written, and Prefect's own client asks again too.
    """
    deployment = next(d for d in running.ask("deployments/filter", {}) if d["name"] == "mnist")
    url = f"{running.api_url}/deployments/{deployment['id']}/create_flow_run"
    body = json.dumps({"parameters": parameters, "state": {"type": "SCHEDULED"}}).encode()
    answers = []
    wait_until(lambda: answers.append(posted(url, body)) or answers[-1][0] != 503, 60)
    return answers[-1]


def posted(url, body):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
