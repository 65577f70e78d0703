"""Whoever is to hear of the end of a run does, from a real Prefect run, on a real socket."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.prefect_server import LocalServer
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.notification import Message, send

AUTOML = Path(sys.executable).with_name("automl")
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # of Apprise's own

SECRET = "t0ken-of-the-webhook"


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted, and answers `status`."""

    def __init__(self, status=200):
        super().__init__(("127.0.0.1", 0), _Post)
        self.heard, self.status = [], status
        self.address = f"http://127.0.0.1:{self.server_port}/hook?token={SECRET}"


class _Post(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self):
        self.server.heard.append((self.path, None))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


@contextmanager
def receiver(status=200):
    with Receiver(status) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose Prefect database is there: to make it takes long."""
    home = Home(tmp_path_factory.mktemp("notify") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        with LocalServer(home) as server:
            server.wait_until_healthy(timeout_seconds=900)
        server.release()
    return home


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def automl(home, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [AUTOML, "run", "mnist", "--engine", "optuna", *arguments, "--home", str(home.root)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def files_that_hold(secret, home):
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert any(path.name == "prefect.db" for path in files)
    return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.long
def test_a_finished_run_is_told_and_its_address_is_nowhere(home, mnist, test_home):
    with receiver() as server:
        arguments = ["--budget", "10s", "--name", "told", "--notify", server.address]
        done = automl(home, *arguments, "--data", str(test_home.data), "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    [(path, heard)] = server.heard
    assert path == f"/hook?token={SECRET}"
    assert heard["name"] == "told"
    assert heard["state"] == "completed"
    assert heard["test_accuracy"] == outcome["winner"]["test_accuracy"]
    assert heard["verdict"] == outcome["verdict"]
    assert f"{heard['test_accuracy']:.2%} test accuracy" in heard["verdict"]
    assert Path(heard["report"]).expanduser() == home.run("told") / "report.html"
    assert heard["reason"] == ""
    assert SECRET not in done.stdout + done.stderr
    assert not files_that_hold(SECRET, home)


@pytest.mark.slow
def test_a_failed_run_is_told_and_a_deaf_receiver_changes_nothing(home):
    home.study("busy").mkdir(parents=True)
    with (
        (home.study("busy") / ".lock").open("w") as lock,
        receiver(status=500) as server,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = automl(home, "--name", "busy", "--notify", server.address)
    assert done.returncode == 2
    [(_, heard)] = server.heard
    assert heard["state"] == "failed"
    assert "is that of a run that is going on" in heard["reason"]
    assert heard["text"] == f"busy failed\n{heard['reason']}"
    assert heard["test_accuracy"] is None
    assert "notify: 127.0.0.1 was not told (it answers 500)\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not files_that_hold(SECRET, home)


@pytest.mark.parametrize(
    ("status", "problem"), [(200, ""), (404, "it answers 404"), (302, "it answers 302")]
)
def test_a_webhook_is_posted_to_once(status, problem, caplog):
    with receiver(status) as server:
        send(server.address, Message("a run", "crashed", reason="its process was killed"))
    [(path, heard)] = server.heard
    assert path == f"/hook?token={SECRET}"
    assert heard["text"] == "a run crashed\nits process was killed"
    said = [record.getMessage() for record in caplog.records]
    assert said == ([f"notify: 127.0.0.1 was not told ({problem})"] if problem else [])


def test_a_service_of_apprise_is_told(caplog):
    with receiver() as server:
        address = server.address.replace("http://", "json://")
        send(address, Message("nightly", "completed", "optuna trial 3 wins"))
    [(_, heard)] = server.heard
    assert heard["title"] == "nightly completed"
    assert "optuna trial 3 wins" in heard["message"]
    assert not caplog.records


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_nobody_there_is_one_warning_that_names_no_secret(scheme, caplog, capfd):
    with Receiver() as server:
        address = server.address.replace("http://", f"{scheme}://user:{SECRET}@")
    send(address, Message("a run", "completed"))
    [record] = caplog.records
    assert record.getMessage().startswith("notify: ")
    said = "".join(capfd.readouterr())
    assert SECRET not in record.getMessage() + said


@pytest.mark.parametrize(
    "address",
    [
        "",
        "somebody",
        f"htp://{SECRET}",
        "http://",
        f"https://a b/{SECRET}",
        f"http://h:99999/{SECRET}",
    ],
)
def test_what_is_no_address_is_refused_unseen(address):
    with pytest.raises(ConfigurationError, match="notify: is no address") as raised:
        RunConfig.parse({"notify": address})
    assert SECRET not in str(raised.value)


def test_an_address_may_come_from_the_environment(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"notify: names .* not set, got 'env:MY_HOOK'"):
        RunConfig.parse({"notify": "env:MY_HOOK"})
    monkeypatch.setenv("MY_HOOK", f"nothing {SECRET}")
    with pytest.raises(ConfigurationError, match="notify: holds, in MY_HOOK, no address"):
        RunConfig.parse({"notify": "env:MY_HOOK"})
    with receiver() as server:
        monkeypatch.setenv("MY_HOOK", server.address)
        config = RunConfig.parse({"notify": "env:MY_HOOK"})
        send(config.notify, Message("a run", "completed"))
    assert len(server.heard) == 1


def test_no_record_of_a_configuration_holds_the_address():
    config = RunConfig.parse({"notify": f"https://example.org/{SECRET}"})
    assert SECRET not in f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"
