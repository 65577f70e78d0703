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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline_lib.home import Home

PROGRAMS = Path(sys.executable).parent
PROJECT = Path(__file__).parents[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class Running:
    """An `automl up` and what it said so far."""

    process: subprocess.Popen
    home: Home
    environment: dict
    said: str = ""
    headers: dict = field(default_factory=dict)

    @property
    def command(self):
        """What it tells people to type in a second terminal, up to the deployment's name."""
        return re.search(r"^ +(.* deployment run automl/mnist) --watch$", self.said, re.M)[1]

    @property
    def api_url(self):
        return re.search(r"PREFECT_API_URL=(\S+)", self.command)[1]

    @property
    def mlflow_url(self):
        return re.search(r"MLflow +(http://[^/\s]+)", self.said)[1]

    def deploy_run(self, *arguments):
        """Type that command, with more arguments, in a directory that has no settings."""
        return subprocess.run(
            ["sh", "-c", f"{self.command} {' '.join(arguments)}"],
            cwd=self.home.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, path, body):
        """The answer of Prefect's API."""
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(
            f"{self.api_url}/{path}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def state_of(self, name):
        """State of the flow run of a study, whose name it takes when it begins."""
        runs = self.ask("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        return runs[0]["state_type"] if runs else None

    def cancel(self, name):
        """Cancel a flow run, as its page in Prefect does."""
        runs = self.ask("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        self.ask(f"flow_runs/{runs[0]['id']}/set_state", {"state": {"type": "CANCELLING"}})

    def start_long_run(self, name, *arguments):
        """Start a run that nobody waits for, and return when its flow has begun."""
        done = self.deploy_run(f"--param budget_seconds=600 --param name={name}", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda: self.state_of(name) == "RUNNING", 180)

    def program(self, word):
        """Number of the process of it whose command has this word; None while there is none."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if word in process.cmdline():
                    return process.pid
        return None

    def kill(self, word):
        """Kill that process, and return when another is there in its place."""
        old = self.program(word)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.program(word) not in {None, old}, 60)

    def processes(self):
        return [self.process.pid, *(p.pid for p in psutil.Process(self.process.pid).children(True))]


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.3)


def has_a_trial(home, name):
    """Whether the parent has heard of the end of a rung."""
    journal = home.study(name) / "optuna" / "study.journal"
    return journal.exists() and '"intermediate_value"' in journal.read_text(encoding="utf-8")


@contextmanager
def running_up(home, *options, **environment):
    """An `automl up` on free ports, from the moment that it is up; Ctrl-C at the end."""
    ports = ["--prefect-port", str(free_port()), "--mlflow-port", str(free_port())]
    ours = ("PREFECT_", "AUTOML_PASSWORD")
    others = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    environment = {**others, "COLUMNS": "80", **environment}
    process = subprocess.Popen(
        [PROGRAMS / "automl", "up", *ports, *options, "--home", str(home.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=PROJECT,
        env=environment,
    )
    running = Running(process, home, environment)
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
