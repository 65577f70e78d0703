"""Real servers, on free ports, with a home of the tests."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from flows.prefect_server import LocalServer, answers, claim
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home

RUN = """
import sys
from pathlib import Path
from flows.prefect_server import LocalServer
from pipeline_lib.home import Home

with LocalServer(Home(Path(sys.argv[1]))) as server:
    server.wait_until_healthy()
    from prefect import flow, task

    @task
    def number(i):
        return i

    @flow(name="numbers")
    def numbers():
        for i in range(20):
            number(i)

    numbers()
"""

WAIT = """
import sys, time
from pathlib import Path
from flows.prefect_server import LocalServer
from pipeline_lib.home import Home

server = LocalServer(Home(Path(sys.argv[1])))
server.start_in_background()
print(server.wait_until_healthy(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for the module: a new database takes long."""
    home = Home(tmp_path_factory.mktemp("server") / "home")
    yield home
    wait_until_ended(home)


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def wait_until_ended(home, seconds=60):
    users = str(home.prefect / "users")
    deadline = time.monotonic() + seconds
    while any(users in (p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline, "the server did not end"
        time.sleep(0.2)


def python(program, home):
    return subprocess.Popen(
        [sys.executable, "-c", program, str(home.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_every_task_of_a_run_is_in_the_database_and_nothing_is_said(home):
    with python(RUN, home) as run:
        said, _ = run.communicate()
    assert run.returncode == 0
    assert "Traceback" not in said and "Error" not in said
    wait_until_ended(home)
    with sqlite3.connect(home.prefect / "prefect.db") as database:
        completed = "SELECT count(*) FROM {} WHERE state_type = 'COMPLETED'"
        assert database.execute(completed.format("flow_run")).fetchone() == (1,)
        assert database.execute(completed.format("task_run")).fetchone() == (20,)
    database.close()
    assert "Traceback" not in (home.prefect / "background-server.log").read_text()


@pytest.mark.slow
def test_runs_share_a_server_that_outlives_the_first_but_not_the_last(home):
    with LocalServer(home) as first:
        url = first.wait_until_healthy()
    with python(WAIT, home) as second:
        assert second.stdout.readline().strip() == url
        first.release()
        time.sleep(5)  # longer than an unused server stays
        assert answers(url)
        second.kill()
    wait_until_ended(home)
    assert not answers(url)


@pytest.mark.slow
def test_a_server_ends_when_its_run_is_killed(home):
    with python(WAIT, home) as run:
        url = run.stdout.readline().strip()
        assert answers(url)
        run.send_signal(signal.SIGKILL)
    wait_until_ended(home)
    assert not answers(url)


@pytest.mark.slow
def test_a_server_whose_home_is_deleted_ends(tmp_path):
    home = Home(tmp_path / "home")
    with python(WAIT, home) as run:
        assert answers(run.stdout.readline().strip())
        home.root.rename(tmp_path / "gone")
        run.kill()
    wait_until_ended(home)


@pytest.mark.slow
def test_a_server_that_is_killed_during_a_run_is_started_again(home):
    with python(WAIT, home) as run:
        url = run.stdout.readline().strip()
        users = str(home.prefect / "users")
        (server,) = [
            process
            for process in psutil.process_iter(["cmdline"])
            if users in (process.info["cmdline"] or ())
        ]
        server.kill()
        deadline = time.monotonic() + 60
        while server.is_running() or not answers(url):
            assert time.monotonic() < deadline, "nobody started it again"
            time.sleep(0.2)
        run.kill()
    wait_until_ended(home)


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path):
    home = Home(tmp_path)
    home.prefect.mkdir()
    (home.prefect / "prefect.db").write_bytes(b"this is no database, whatever its name says" * 99)
    with LocalServer(home) as server, pytest.raises(ServerError) as raised:
        server.wait_until_healthy()
    server.release()
    assert "while it started" in raised.value.problem
    assert "file is not a database" in raised.value.problem
    assert str(home.prefect / "background-server.log") in raised.value.remedy


def test_a_run_uses_the_server_of_up(tmp_path):
    home = Home(tmp_path)
    home.prefect.mkdir()
    held = claim(home.prefect / "up")
    os.write(held, b"http://127.0.0.1:4299/api")
    with LocalServer(home) as server:
        assert server.api_url == "http://127.0.0.1:4299/api"
        assert os.environ["PREFECT_API_URL"] == server.api_url
        assert os.environ["PREFECT_HOME"] == str(home.prefect)
    server.release()
    os.close(held)
    assert "PREFECT_API_URL" not in os.environ
    assert not (home.prefect / "background").exists()


def test_a_server_that_goes_between_two_questions_is_no_traceback(tmp_path):
    """It said that it is healthy, and hangs up when it is asked for its version."""

    class Dying(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("/health"):
                self.send_response(200)
                self.end_headers()

        def log_message(self, *_):
            pass

    home = Home(tmp_path)
    home.prefect.mkdir()
    with HTTPServer(("127.0.0.1", 0), Dying) as dying:
        threading.Thread(target=dying.serve_forever, daemon=True).start()
        lock = claim(home.prefect / "up")
        os.write(lock, f"http://127.0.0.1:{dying.server_port}/api".encode())
        server = LocalServer(home)
        with pytest.raises(ServerError, match="does not answer"), server:
            server.wait_until_healthy(timeout_seconds=1)
        server.release()
        os.close(lock)
        dying.shutdown()


def test_the_users_own_server_wins_and_is_named_when_it_is_silent(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with (
        LocalServer(Home(tmp_path / "home")) as server,
        pytest.raises(ServerError, match=r"does not answer .*127.0.0.1:9/api'; .*unset"),
    ):
        server.wait_until_healthy(timeout_seconds=0.2)
    assert not Path(tmp_path / "home").exists()


def test_the_module_does_not_load_prefect():
    program = "import sys, flows.prefect_server; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
