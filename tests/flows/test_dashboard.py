"""`automl dashboard` as a person starts it, looked at in a browser."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from browser import DESKTOP, PHONE, browser
from optuna.exceptions import ExperimentalWarning
from running_up import free_port

from flows.dashboard import show
from pipeline_lib.errors import ServerError, UserError
from pipeline_lib.home import Home
from pipeline_lib.search.journal import open_storage

CHANGING = """Array.from(document.querySelectorAll('button, li'))
    .filter(e => e.offsetParent && /AddBox|Delete|Rename|EditIcon|RuleIcon|RateReview/.test(
        Array.from(e.querySelectorAll('svg'), s => s.dataset.testid).join()))
    .map(e => e.ariaLabel || e.innerText)"""
AUTOML = Path(sys.executable).with_name("automl")


@pytest.fixture
def home(tmp_path):
    """Two studies, `second` the later."""
    home = Home(tmp_path / "home")
    for name in ("first", "second"):
        directory = home.study(name) / "optuna"
        directory.mkdir(parents=True)
        storage = open_storage(directory)
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
        with pytest.warns(ExperimentalWarning):
            study.set_metric_names(["validation accuracy"])
        study.optimize(lambda trial: -abs(trial.suggest_float("lr", 1e-4, 1, log=True) - 0.01), 12)
    return home


@contextmanager
def dashboard(home, *arguments):
    port = str(free_port())
    command = [AUTOML, "dashboard", *arguments, "--port", port, "--home", str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            assert process.stdout.readline() == "Ctrl-C stops it.\n"
            yield said.strip(), f"http://127.0.0.1:{port}"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def names(address):
    with urllib.request.urlopen(f"{address}/api/studies") as answer:
        return [study["study_name"] for study in json.load(answer)["study_summaries"]]


@pytest.mark.slow
def test_the_latest_study_shows_and_cannot_be_changed(home, tmp_path):
    with dashboard(home) as (said, address):
        assert said == f"second is at {address}/dashboard"
        assert names(address) == ["second"]
        for request in (
            urllib.request.Request(f"{address}/api/studies/0", method="DELETE"),
            urllib.request.Request(f"{address}/api/studies", headers={"Host": "evil.example"}),
        ):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request)
        assert names(address) == ["second"]
        with browser(tmp_path / "profile") as page:
            page.open(f"{address}/dashboard/studies/0", DESKTOP)
            page.wait_for("document.querySelectorAll('.scatterlayer .point').length >= 12")
            page.wait_for("document.body.innerText.includes('second')")
            here = (address, "data:", "blob:")
            assert all(asked.startswith(here) for asked in page.requests)
            page.wait_for("document.body.textContent.includes('validation accuracy')")
            page.screenshot("dashboard-desktop", whole=False)
            for view in ("", "/studies/0", "/studies/0/note", "/studies/0/trials?numbers=3"):
                page.open(f"{address}/dashboard{view}", DESKTOP)
                page.wait_for("document.querySelectorAll('button').length > 2")
                assert page.evaluate(CHANGING) == []
            page.show_as(PHONE)
            page.screenshot("dashboard-phone", whole=False)


@pytest.mark.slow
def test_a_study_is_shown_by_name(home):
    with dashboard(home, "first") as (said, address):
        assert said.startswith("first is at")
        assert names(address) == ["first"]


def test_what_cannot_be_shown_is_said_in_a_line(home, tmp_path):
    with pytest.raises(UserError, match=r"run: is unknown, got 'frist'; did you mean 'first'"):
        show(home, "frist", free_port())
    with pytest.raises(UserError, match="no run has an Optuna study"):
        show(Home(tmp_path / "empty"), None, free_port())
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(ServerError, match=r"cannot listen on its port.*--port"),
    ):
        show(home, None, listener.getsockname()[1])
