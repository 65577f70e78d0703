"""Authentication of real servers: who is let in, and where the password may not be found."""

import base64
import socket
import subprocess
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running_up import PROGRAMS, PROJECT, running_up

from flows import auth
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home

SECRET = "a %(quiet)s 'evening' $HOME"
BASIC = base64.b64encode(f"admin:{SECRET}".encode()).decode()


@pytest.fixture(autouse=True)
def no_password_of_the_user(monkeypatch):
    monkeypatch.delenv("AUTOML_PASSWORD", raising=False)
    monkeypatch.delenv("AUTOML_PASSWORD_FILE", raising=False)


def test_without_a_password_there_is_none():
    assert auth.password() is None
    assert auth.prefect_settings() == {}


@pytest.mark.parametrize(
    "secret", ["", "short", "elevenchars", "sixteen long\nlines", "pässwörter-äöü"]
)
def test_a_weak_password_is_refused_and_not_shown(secret, monkeypatch):
    monkeypatch.setenv("AUTOML_PASSWORD", secret)
    with pytest.raises(ServerError, match=r"^AUTOML_PASSWORD: holds no password of 12") as raised:
        auth.password()
    assert not secret or secret not in str(raised.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o700 | 0o001])
def test_a_password_file_that_others_can_read_is_refused(mode, tmp_path, monkeypatch):
    path = tmp_path / "password"
    path.write_text(SECRET + "\n")
    monkeypatch.setenv("AUTOML_PASSWORD_FILE", str(path))
    path.chmod(0o600)
    assert auth.password() == SECRET
    path.chmod(mode)
    with pytest.raises(ServerError, match=r"open to others, got '0o.*chmod 600") as raised:
        auth.password()
    assert SECRET not in str(raised.value)


def test_a_password_file_that_is_none_is_refused(tmp_path, monkeypatch):
    for path in (tmp_path / "absent", tmp_path):
        monkeypatch.setenv("AUTOML_PASSWORD_FILE", str(path))
        with pytest.raises(ServerError, match="AUTOML_PASSWORD_FILE: cannot be read"):
            auth.password()
    (tmp_path / "binary").write_bytes(b"\xff" * 20)
    (tmp_path / "binary").chmod(0o600)
    monkeypatch.setenv("AUTOML_PASSWORD_FILE", str(tmp_path / "binary"))
    with pytest.raises(ServerError, match="AUTOML_PASSWORD_FILE: cannot be read"):
        auth.password()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_needs_no_password(host):
    auth.check_host(host, None)


@pytest.mark.parametrize("host", ["192.168.1.5", "example.org", "localhost.example.org"])
def test_other_addresses_need_one(host):
    with pytest.raises(
        ServerError, match=r"host: is open to other machines, got .*AUTOML_PASSWORD"
    ):
        auth.check_host(host, None)
    auth.check_host(host, SECRET)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "fe80::1"])
def test_all_addresses_at_once_are_refused_with_a_password_too(host):
    with pytest.raises(ServerError, match="host: cannot be listened on"):
        auth.check_host(host, SECRET)


@given(
    host=st.one_of(
        st.from_regex(r"[a-z0-9.-]{1,30}(:[0-9]{1,5})?", fullmatch=True),
        st.sampled_from(["127.0.0.1.evil.example", "evil.example:4200", "localhost.", "[::1]", ""]),
        st.sampled_from(["127.0.0.1:4200", "localhost:4200", "localhost", "127.0.0.1:9"]),
    ),
    origin=st.one_of(
        st.none(),
        st.sampled_from(
            ["null", "http://127.0.0.1:4200", "https://127.0.0.1:4200", "http://evil", ""]
        ),
        st.from_regex(r"https?://[a-z0-9.-]{1,30}(:[0-9]{1,5})?", fullmatch=True),
    ),
)
def test_who_passes_the_guard(host, origin):
    """A Host by one of our names, and an Origin that is none, that Host, or ours with our port."""
    import asyncio

    reached, answers = [], []

    async def app(scope, receive, send):
        reached.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        answers.append(message)

    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    for kind in ("http", "websocket"):
        guard = auth.Guard(app, "127.0.0.1", 4200)
        asyncio.run(guard({"type": kind, "headers": headers}, None, send))
    name = host.split(":")[0]
    ours = {f"http://{host}", "http://127.0.0.1:4200", "http://localhost:4200", None}
    let_in = name in {"127.0.0.1", "localhost"} and origin in ours
    assert bool(reached) == let_in
    for answer in answers[: 2 * let_in]:
        policy = dict(answer["headers"])[b"content-security-policy"].decode()
        assert policy.startswith("default-src 'self' ")
        named = {word for word in policy.split() if "://" in word}
        assert {urlsplit(word).hostname for word in named} == {"127.0.0.1", "localhost"}
    if not let_in:
        assert answers[0]["status"] == 403
        assert answers[-1]["type"] == "websocket.close"


def status(url, body=None, **headers):
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
def test_foreign_pages_get_nothing_from_either_server(tmp_path):
    with running_up(Home(tmp_path / "home")) as running:
        port = running.api_url.split(":")[-1].split("/")[0]
        prefect = [f"{running.api_url}/admin/version", running.api_url.removesuffix("/api") + "/"]
        mlflow = f"{running.mlflow_url}/api/2.0/mlflow/experiments/search"
        search = b'{"max_results": 5}'
        read = [f"{mlflow}?max_results=5", f"{running.mlflow_url}/", f"{running.mlflow_url}/health"]
        for host in ("evil.example", f"evil.example:{port}", "10.evil.example", "127.0.0.1.nip.io"):
            assert [status(url, Host=host) for url in prefect] == [403, 403]
            assert [status(url, Host=host) for url in read] == [403, 403, 403]
            assert status(mlflow, search, Host=host) == 403
        for origin in ("http://evil.example", "null"):
            assert [status(url, Origin=origin) for url in prefect] == [403, 403]
            assert [status(url, Origin=origin) for url in read] == [403, 403, 403]
            assert status(mlflow, search, Origin=origin) == 403
        assert status(prefect[0], Origin="http://127.0.0.1:1") == 403
        for name in ("127.0.0.1", "localhost"):
            origin = f"http://{name}:{port}"
            assert status(prefect[0], Host=f"{name}:{port}", Origin=origin) == 200
            assert status(f"{running.mlflow_url}/", Host=f"{name}:1") == 200
            own = f"http://{name}:{running.mlflow_url.rpartition(':')[2]}"
            assert [status(url, Origin=own) for url in read] == [200, 200, 200]
            assert status(mlflow, search, Origin=own) == 200
        listening = psutil.Process(running.program("mlflow")).children(recursive=True)
        listening += [psutil.Process(running.program("flows.auth"))]
        addresses = {
            c.laddr.ip for p in listening for c in p.net_connections() if c.status == "LISTEN"
        }
        assert addresses == {"127.0.0.1"}


def address_of_this_machine():
    """One that other machines could reach."""
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return address.address
    return pytest.skip("this machine has no address of its own")


def files_with(secret, directory):
    return [p for p in directory.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]


@pytest.mark.long
def test_with_a_password_everything_works_and_nothing_shows_it(tmp_path, mnist, test_home):
    pytest.importorskip("flask_wtf")
    host, home = address_of_this_machine(), Home(tmp_path / "home")
    given = {"AUTOML_PASSWORD": SECRET}
    with running_up(home, "--host", host, **given) as running:
        assert f"http://{host}:" in running.api_url
        right, wrong = f"Basic {BASIC}", "Basic " + base64.b64encode(b"admin:password1234").decode()
        version = f"{running.api_url}/admin/version"
        search = f"{running.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=5"
        for url in (version, search):
            assert status(url) == 401
            assert status(url, Authorization=wrong) == 401
            assert status(url, Authorization=right) == 200
            assert status(url, Authorization=right, Host="evil.example") == 403
            assert status(url, Authorization=right, Origin="http://evil.example") == 403

        run = f"--param budget_seconds=15 --param engine=optuna --param data_root={test_home.data}"
        done = running.deploy_run(f"--watch --param name=behind-the-door {run}")
        log = (home.prefect / "worker.log").read_text()
        assert "finished successfully in 'Completed'" in done.stdout, done.stdout + log
        running.headers = {"Authorization": right}
        assert running.state_of("behind-the-door") == "COMPLETED"

        stranger = {k: v for k, v in running.environment.items() if k != "AUTOML_PASSWORD"}
        command = [PROGRAMS / "automl", "run", "mnist", "--budget", "5s", "--home", home.root]
        alone = subprocess.run(
            command, env=stranger, cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert alone.returncode == 2
        last = alone.stderr.splitlines()[-1]
        assert last.startswith("error: Prefect server: asks for a password, got 'http://")
        assert "Traceback" not in alone.stderr

        arguments = [" ".join(psutil.Process(pid).cmdline()) for pid in running.processes()]
        for secret in (SECRET, BASIC):
            assert not any(secret in line for line in arguments)
            assert not files_with(secret, home.root)
            assert secret not in running.said + done.stdout + done.stderr
        modes = {p.name: p.stat().st_mode & 0o077 for p in home.mlflow_database.parent.iterdir()}
        assert {"users.db": 0, "basic-auth.ini": 0}.items() <= modes.items()

    with running_up(home, "--host", host, AUTOML_PASSWORD="another " + SECRET) as running:
        search = f"{running.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=5"
        assert status(search, Authorization=right) == 401
        another = base64.b64encode(f"admin:another {SECRET}".encode()).decode()
        assert status(search, Authorization=f"Basic {another}") == 200
