"""`automl up` as a person starts it: real servers, a real worker, real deployment runs."""

import json
import os
import re
import shlex
import signal
import socket
import sys
import time
import urllib.request

import psutil
import pytest
from prefect.settings.models.flows import FlowsSettings
from running_up import free_port, has_a_trial, running_up, wait_until
from surroundings import variables

from flows.addresses import prefect_command
from flows.prefect_api import HEARTBEAT_SECONDS, SILENCE_SECONDS
from flows.prefect_server import answers, claim
from flows.up import up
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home
from pipeline_lib.run.sync import Begun
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import runs_of_study
from pipeline_lib.tracking.store import ui_address


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("keyword", "name", "flag"),
    [
        ("prefect_port", "Prefect server", "--prefect-port"),
        ("mlflow_port", "MLflow server", "--mlflow-port"),
    ],
)
def test_a_taken_port_is_named_before_anything_starts(tmp_path, taken_port, keyword, name, flag):
    ports = {"prefect_port": free_port(), "mlflow_port": free_port(), keyword: taken_port}
    with pytest.raises(ServerError, match=f"{name}: .*got {taken_port}; .*{flag}"):
        up(Home(tmp_path / "home"), **ports)
    assert not (tmp_path / "home").exists()


def test_one_port_for_both_is_refused(tmp_path):
    port = free_port()
    with pytest.raises(ServerError, match=f"MLflow server: .*{port}"):
        up(Home(tmp_path / "home"), prefect_port=port, mlflow_port=port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_machines_are_refused(tmp_path, host):
    with pytest.raises(ServerError, match=r"^host: "):
        up(Home(tmp_path / "home"), host=host)
    assert not (tmp_path / "home").exists()


def test_no_run_that_lives_is_silent_for_so_long_that_it_is_taken_for_dead():
    of_other_flows = FlowsSettings.model_fields["heartbeat_frequency"].default
    assert of_other_flows + HEARTBEAT_SECONDS < SILENCE_SECONDS
    assert SILENCE_SECONDS > 3 * HEARTBEAT_SECONDS


def test_a_home_is_up_once(tmp_path):
    home = Home(tmp_path)
    home.prefect.mkdir()
    held = claim(home.prefect / "up")
    os.write(held, b"http://127.0.0.1:4299/api")
    with pytest.raises(ServerError, match=r"home: is up already, got 'http://127.0.0.1:4299'"):
        up(home, prefect_port=free_port(), mlflow_port=free_port())
    os.close(held)


def test_what_it_prints_can_be_typed_anywhere(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/opt/auto ml's/bin/python")
    words = shlex.split(prefect_command("http://127.0.0.1:4200/api"))
    assert words == ["PREFECT_API_URL=http://127.0.0.1:4200/api", "/opt/auto ml's/bin/prefect"]


def test_a_server_that_is_away_is_named_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    with pytest.raises(ServerError, match="MLFLOW_TRACKING_URI: does not answer") as raised:
        up(Home(tmp_path / "home"), prefect_port=free_port())
    assert "secret" not in str(raised.value)
    assert not (tmp_path / "home").exists()


def test_links_lead_to_the_server_that_records(monkeypatch):
    monkeypatch.delenv("AUTOML_MLFLOW_UI", raising=False)
    for given, shown in {
        "": None,
        "sqlite:///runs.db": None,
        "http://me:secret@tracking.example:5000/": "http://tracking.example:5000",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert ui_address() == shown
    monkeypatch.setenv("AUTOML_MLFLOW_UI", "http://127.0.0.1:5001")
    assert ui_address() == "http://127.0.0.1:5001"


@pytest.mark.slow
def test_mlflows_page_shows_the_store_that_is_recorded_in(tmp_path):
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path}/theirs.db"
    MlflowClient(tracking_uri=store).create_experiment("automl/theirs")
    with running_up(Home(tmp_path / "home"), MLFLOW_TRACKING_URI=store) as running:
        query = f"{running.mlflow_url}/api/2.0/mlflow/experiments/get-by-name"
        with urllib.request.urlopen(f"{query}?experiment_name=automl/theirs") as response:
            assert response.status == 200


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for the module: new databases take long."""
    return Home(tmp_path_factory.mktemp("up") / "home")


@pytest.mark.slow
def test_a_deployment_runs_and_shows_in_both(home, mnist, test_home, tmp_path):
    """Whatever the surroundings of `automl up` are; those of whoever asks it are plain."""
    with running_up(home, **variables(tmp_path)) as running:
        running.environment = os.environ
        done = running.deploy_run(
            "--watch --param budget_seconds=15 --param name=first-run",
            f"--param data_root={test_home.data}",
        )
        log = (home.prefect / "worker.log").read_text()
        assert "finished successfully in 'Completed'" in done.stdout, done.stdout + log
        assert running.state_of("first-run") == "COMPLETED"
        with urllib.request.urlopen(f"{running.mlflow_url}/health") as response:
            assert response.status == 200
        query = f"{running.mlflow_url}/api/2.0/mlflow/registered-models/get?name=automl-mnist"
        with urllib.request.urlopen(query) as response:
            assert json.load(response)["registered_model"]["name"] == "automl-mnist"
        deployments = {d["name"]: d for d in running.ask("deployments/filter", {})}
        assert deployments.keys() == {"mnist", "mnist-nightly"}
        [schedule] = deployments["mnist-nightly"]["schedules"]
        assert schedule["active"] and schedule["slug"] == "nightly"
        everything = running.processes()
        running.process.send_signal(signal.SIGINT)
        rest = running.process.stdout.read()
        assert running.process.wait() == 0
    assert "Traceback" not in running.said + rest
    assert not any(psutil.pid_exists(pid) for pid in everything)


def trials_in_mlflow(home, name):
    tags = [run.data.tags for run in runs_of_study(open_store(home), name)]
    return sorted(int(found["automl.trial"]) for found in tags if "automl.trial" in found)


def ends_in_mlflow(home, name):
    """How the run of a study, its search and its trials ended."""
    found = runs_of_study(open_store(home), name)
    trials = [run.data.tags.get("automl.role") == "trial" for run in found]
    assert any(trials)
    return {run.info.status for run, is_trial in zip(found, trials, strict=True) if not is_trial}


@pytest.mark.long
def test_a_run_that_is_cancelled_keeps_its_records(home, mnist, test_home):
    with running_up(home) as running:
        running.start_long_run(
            "vain", f"--param data_root={test_home.data} --param engine=optuna --param space=book"
        )
        running.cancel("vain")
        wait_until(lambda: running.state_of("vain") == "CANCELLED", 60)
        running.start_long_run(
            "cancelled", f"--param data_root={test_home.data} --param engine=optuna"
        )
        wait_until(lambda: has_a_trial(home, "cancelled"), 180)
        running.cancel("cancelled")
        wait_until(lambda: running.state_of("cancelled") == "CANCELLED", 60)
        assert ends_in_mlflow(home, "cancelled") == {"KILLED"}
        recorded = trials_in_mlflow(home, "cancelled")
    vain = {run.info.status for run in runs_of_study(open_store(home), "vain")}
    assert vain <= {"KILLED"}
    assert recorded == [trial.number for trial in Begun.read(home, "cancelled").trials()["optuna"]]


@pytest.mark.long
def test_what_becomes_of_a_run_when_up_ends(home, mnist, test_home):
    with running_up(home) as running:
        running.start_long_run("killed", f"--param data_root={test_home.data}")
        everything = running.processes()
        running.process.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in everything), 60)
    with running_up(home) as running:
        assert running.state_of("killed") == "CRASHED"
        running.start_long_run(
            "stopped", f"--param data_root={test_home.data} --param engine=optuna"
        )
        wait_until(lambda: has_a_trial(home, "stopped"), 180)
        time.sleep(1)  # the listeners hear of it
        everything = running.processes()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait() == 0
    assert not any(psutil.pid_exists(pid) for pid in everything)
    assert ends_in_mlflow(home, "stopped") == {"KILLED"}
    with running_up(home) as running:
        assert running.state_of("stopped") == "CANCELLED"
        running.kill("worker")
        os.kill(running.program("worker"), signal.SIGKILL)
        rest = running.process.stdout.read()
        assert running.process.wait() == 2
    assert re.search(r"^again  Prefect worker had ended with exit code -9$", rest, re.M), rest
    assert re.search(r"^error: Prefect worker: ended with exit code -9", rest, re.M), rest
    assert "Traceback" not in rest
    assert not answers(running.api_url)
