"""`automl up` as a person starts it: real servers, a real worker, real deployment runs."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.prefect_server import answers, claim
from flows.up import up
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home

PROGRAMS = Path(sys.executable).parent
PROJECT = Path(__file__).parents[2]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


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
    with pytest.raises(ServerError, match=r"host: .*; .*127\.0\.0\.1"):
        up(Home(tmp_path / "home"), host=host)
    assert not (tmp_path / "home").exists()


def test_a_home_is_up_once(tmp_path):
    home = Home(tmp_path)
    home.prefect.mkdir()
    held = claim(home.prefect / "up")
    os.write(held, b"http://127.0.0.1:4299/api")
    with pytest.raises(ServerError, match=r"home: is up already, got 'http://127.0.0.1:4299'"):
        up(home, prefect_port=free_port(), mlflow_port=free_port())
    os.close(held)


@dataclass
class Running:
    """An `automl up` and what it said so far."""

    process: subprocess.Popen
    home: Home
    mlflow_url: str
    said: str = ""

    @property
    def command(self):
        """What it tells people to type in a second terminal, up to the deployment's name."""
        return re.search(r"^ +(.* deployment run automl/mnist) --watch$", self.said, re.M)[1]

    @property
    def api_url(self):
        return re.search(r"PREFECT_API_URL=(\S+)", self.command)[1]

    def deploy_run(self, *arguments):
        """Type that command, with more arguments, in the directory of the project."""
        return subprocess.run(
            ["sh", "-c", f"{self.command} {' '.join(arguments)}"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, path, body):
        """The answer of Prefect's API."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.api_url}/{path}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def state_of(self, name):
        """State of the flow run of a study, whose name it takes when it begins."""
        runs = self.ask("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        return runs[0]["state_type"] if runs else None

    def start_long_run(self, name, *arguments):
        """Start a run that nobody waits for, and return when its flow has begun."""
        done = self.deploy_run(f"--param budget_seconds=600 --param name={name}", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda: self.state_of(name) == "RUNNING", 180)

    def processes(self):
        return [self.process.pid, *(p.pid for p in psutil.Process(self.process.pid).children(True))]


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.3)


@contextmanager
def running_up(home):
    mlflow_port = free_port()
    ports = ["--prefect-port", str(free_port()), "--mlflow-port", str(mlflow_port)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        [PROGRAMS / "automl", "up", *ports, "--home", str(home.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=PROJECT,
        env=environment | {"COLUMNS": "80"},
    )
    running = Running(process, home, f"http://127.0.0.1:{mlflow_port}")
    with process:
        try:
            for line in process.stdout:
                running.said += line
                if "Ctrl-C" in line:
                    break
            assert "automl is up" in running.said, running.said
            yield running
        finally:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for the module: new databases take long."""
    return Home(tmp_path_factory.mktemp("up") / "home")


@pytest.mark.slow
def test_a_deployment_runs_and_shows_in_both(home, mnist, test_home):
    with running_up(home) as running:
        done = running.deploy_run(
            "--watch --param budget_seconds=15 --param name=first-run",
            f"--param data={test_home.data}",
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


@pytest.mark.long
def test_what_becomes_of_a_run_when_up_ends(home, mnist, test_home):
    with running_up(home) as running:
        running.start_long_run("killed", f"--param data={test_home.data}")
        everything = running.processes()
        running.process.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in everything), 60)
    with running_up(home) as running:
        assert running.state_of("killed") == "CRASHED"
        running.start_long_run("stopped", f"--param data={test_home.data}")
        everything = running.processes()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait() == 0
    assert not any(psutil.pid_exists(pid) for pid in everything)
    with running_up(home) as running:
        assert running.state_of("stopped") == "CANCELLED"
        [worker] = [pid for pid in running.processes() if "worker" in psutil.Process(pid).cmdline()]
        os.kill(worker, signal.SIGKILL)
        rest = running.process.stdout.read()
        assert running.process.wait() == 2
    assert re.search(r"^error: Prefect worker: ended with exit code -9", rest, re.M), rest
    assert "Traceback" not in rest
    assert not answers(running.api_url)
