"""Settings that are named: of Prefect, of MLflow, and the servers that the user chose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from surroundings import users_directory, variables

from flows.settings import check_chosen_server, chosen_server, named, without_prefect
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home
from pipeline_lib.isolation import isolated


def settings_in(environment):
    return {k: v for k, v in environment.items() if k.startswith(("PREFECT_", "MLFLOW_", "WEB_"))}


def test_nothing_is_left_of_settings_that_are_nobodys_choice(tmp_path):
    around = variables(tmp_path)
    assert len(settings_in(around)) > 10
    assert settings_in(named(around)) == {}


def test_the_users_servers_are_left_with_what_they_need(tmp_path):
    meant = {
        "PREFECT_API_URL": "https://prefect.example/api",
        "PREFECT_API_KEY": "of-a-cloud",
        "PREFECT_API_AUTH_STRING": "me:secret",
        "MLFLOW_TRACKING_URI": "https://mlflow.example",
        "MLFLOW_REGISTRY_URI": "https://registry.example",
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "secret",
        "MLFLOW_S3_ENDPOINT_URL": "https://s3.example",
    }
    around = {**variables(tmp_path), **meant}
    assert settings_in(named(around)) == meant
    assert not [name for name in without_prefect(around) if name.startswith("PREFECT_")]


def test_an_address_is_taken_without_its_slashes():
    assert named({"PREFECT_API_URL": " http://127.0.0.1:4200/api// "})["PREFECT_API_URL"] == (
        "http://127.0.0.1:4200/api"
    )
    assert "PREFECT_API_URL" not in named({"PREFECT_API_URL": ""})


def test_a_database_of_the_user_is_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given, meant in {
        "sqlite:///runs.db": f"sqlite:///{tmp_path / 'runs.db'}",
        "sqlite:////srv/runs.db": "sqlite:////srv/runs.db",
        "postgresql://host/runs": "postgresql://host/runs",
    }.items():
        assert named({"MLFLOW_TRACKING_URI": given})["MLFLOW_TRACKING_URI"] == meant


@contextmanager
def answering(status):
    """A server that answers its health, and everything else with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/api/health" else status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_chosen_server_is_tried():
    with answering(200) as address:
        check_chosen_server(f"{address}/api")


@pytest.mark.parametrize(
    ("status", "path", "word"),
    [(401, "/api", "PREFECT_API_AUTH_STRING"), (404, "", "ends in /api")],
)
def test_a_chosen_server_that_does_not_take_us_is_refused(status, path, word):
    with answering(status) as address, pytest.raises(ServerError, match=word) as raised:
        check_chosen_server(address + path)
    assert raised.value.where == "PREFECT_API_URL"


@pytest.mark.parametrize("url", ["127.0.0.1:4200", "ftp://host/api", "http://", "http://[::1"])
def test_what_is_no_address_is_refused(url, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ServerError, match="PREFECT_API_URL: is no address"):
        chosen_server()


LOADED = """
import json, os
from pathlib import Path
from flows.settings import settle, stand_in
from pipeline_lib.home import Home
{begin}
from prefect.settings import get_current_settings
import flows.automl as module
from tasks.search import search_task
found = get_current_settings()
stages = [*module.TASKS.values(), *map(search_task, ('optuna', 'autopytorch'))]
print(json.dumps({{
    "settings": [found.flows.default_retries, found.tasks.default_retries, str(found.home)],
    "retries": {{each.name: each.retries for each in [module.automl, *stages]}},
    "threads": module.automl.task_runner._max_workers,
    "kept": [module.automl.persist_result, *(stage.persist_result for stage in stages)],
}}))
"""


def loaded(begin, place, environment):
    command = [sys.executable, "-P", "-c", LOADED.format(begin=begin)]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_setting_makes_a_run_repeat_a_search_or_hold_an_engine_back(tmp_path):
    """Under a worker that somebody else started, all settings are theirs."""
    theirs = {
        "PREFECT_FLOWS_DEFAULT_RETRIES": "2",
        "PREFECT_TASKS_DEFAULT_RETRIES": "2",
        "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    }
    found = loaded("", tmp_path, isolated({**os.environ, **theirs}))
    assert found["settings"][:2] == [2, 2]
    repeated = {name for name, times in found["retries"].items() if times}
    assert repeated <= {"load data", "register the winner"}
    assert len(found["retries"]) > 10
    assert found["threads"] == 2
    assert not any(found["kept"])


def test_a_run_reads_no_settings_of_the_directory_it_was_started_in(tmp_path):
    """A prefect.toml that is broken, a .env with a word where a number should be."""
    here = users_directory(tmp_path / "here")
    home = Home(tmp_path / "home")
    environment = {**os.environ, "AUTOML_HOME": str(home.root)}
    begin = "settle(); stand_in(Home.from_environment()); os.environ['PREFECT_HOME'] = os.getcwd()"
    found = loaded(begin, here, environment)
    assert found["settings"] == [0, 0, str(home.prefect)]
    assert not Path(here / "home").exists()
