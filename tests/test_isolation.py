"""What a process inherits: proxies, other people's modules, a long TMPDIR."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
import requests
from surroundings import DEAD_PROXY, long_folder, on_the_path, users_directory
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from pipeline_lib.isolation import ROOT, captured, isolated, isolating, short_folder

PROXIES = {
    "http": {"HTTP_PROXY": DEAD_PROXY, "HTTPS_PROXY": DEAD_PROXY},
    "lower": {"http_proxy": DEAD_PROXY, "https_proxy": DEAD_PROXY},
    "plain": {"HTTP_PROXY": "127.0.0.1:9", "HTTPS_PROXY": "127.0.0.1:9"},
    "socks": {"ALL_PROXY": "socks5://127.0.0.1:9", "HTTP_PROXY": DEAD_PROXY},
    "unknown": {"HTTP_PROXY": "gopher://127.0.0.1:9", "HTTPS_PROXY": "gopher://127.0.0.1:9"},
    "port": {"HTTP_PROXY": "http://127.0.0.1:nine"},
    "excepted": {"HTTP_PROXY": DEAD_PROXY, "NO_PROXY": "intranet.example"},
}


@pytest.fixture
def surroundings(monkeypatch):
    """Set the environment to what `isolated` makes of variables added to this one."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    def enter(**variables):
        for name, value in isolated({**os.environ, **variables}).items():
            monkeypatch.setenv(name, value)

    return enter


@contextmanager
def serving():
    """A server on loopback, and the targets that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_reached_directly_by_every_client(kind, host, surroundings):
    surroundings(**PROXIES[kind])
    with serving() as (port, asked):
        address = f"http://{host}:{port}/here"
        assert httpx.get(address).status_code == 200
        assert requests.get(address, timeout=9).status_code == 200
        assert urllib.request.build_opener().open(address, timeout=9).status == 200
    assert asked == ["/here"] * 3
    assert get_proxy(parse_uri(f"ws://{host}:{port}/events")) is None


def test_other_addresses_keep_the_proxy(surroundings):
    with serving() as (port, asked):
        surroundings(HTTP_PROXY=f"http://127.0.0.1:{port}", NO_PROXY="intranet.example")
        outside = "http://outside.example/hook"
        httpx.get(outside)
        requests.get(outside, timeout=9)
        urllib.request.build_opener().open(outside, timeout=9)
    assert asked == [outside] * 3
    assert urllib.request.proxy_bypass("intranet.example")


def test_a_proxy_that_httpx_does_not_know_still_serves_the_others(surroundings):
    with serving() as (port, asked):
        proxy = f"http://127.0.0.1:{port}"
        surroundings(HTTP_PROXY=proxy, ALL_PROXY="socks5://127.0.0.1:9")
        requests.get("http://outside.example/hook", timeout=9)
        urllib.request.build_opener().open("http://outside.example/hook", timeout=9)
    assert asked == ["http://outside.example/hook"] * 2


def test_without_a_proxy_nothing_is_set(surroundings):
    surroundings()
    assert not [name for name in os.environ if name.lower().endswith("_proxy")]


def test_children_find_our_modules_and_the_standard_librarys(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(on_the_path(tmp_path / "path")))
    monkeypatch.chdir(users_directory(tmp_path / "here"))
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    code = "import tokenize, logging, tasks, flows.subprocesses as ours; print('…', ours.__file__)"
    done = captured([sys.executable, "-c", code])
    assert done.stdout.strip() == f"… {ROOT / 'flows' / 'subprocesses.py'}"
    done = captured([sys.executable, "-m", "flows.subprocesses", "no-mark"])
    assert (done.stdout, done.returncode) == ("", 0)


WORKERS = """
import multiprocessing, os, sys
from pipeline_lib.training.processes import CONTEXT, start
if __name__ == "__main__":
    CONTEXT.set_forkserver_preload(["tokenize"])  # torch takes seconds
    process = CONTEXT.Process(target=os.listdir, args=("/proc/self/fd",))
    start(process)
    process.join()
    print(process.exitcode, dict(os.environ).get("PYTHONSAFEPATH"))
"""


def test_the_processes_of_trials_start_in_any_directory_and_with_a_long_tmpdir(tmp_path):
    """As a library: the parent keeps its own environment."""
    here, folder = users_directory(tmp_path / "here"), long_folder(tmp_path)
    script = tmp_path / "script" / "search.py"
    script.parent.mkdir()
    script.write_text(WORKERS)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    environment |= {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script], cwd=here, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("0 None", "")


def test_a_long_temporary_folder_is_left_for_a_short_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(long_folder(tmp_path)))
    assert len(short_folder()) < 12
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert short_folder() == "/tmp"


def test_the_environment_is_as_before_after_a_process_was_started(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    before = dict(os.environ)
    with isolating():
        assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ["PYTHONPATH"] == str(ROOT)
        monkeypatch.setenv("SET_BY_ANOTHER_THREAD", "meanwhile")
    assert dict(os.environ) == before | {"SET_BY_ANOTHER_THREAD": "meanwhile"}


def test_the_command_starts_beside_and_behind_other_peoples_modules(tmp_path):
    """And prints `…` where the locale has no such character."""
    here, path = users_directory(tmp_path / "here"), on_the_path(tmp_path / "path")
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = subprocess.run(
        [Path(sys.executable).with_name("automl"), "space", "optuna"],
        cwd=here,
        env={**os.environ, **plain, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "batch_size" in done.stdout
