"""The Prefect server of a home: the one that is up, else one that lives as long as it is used.

A server that `automl run` starts is a process of its own. It ends itself when no run uses it any
more and all it was told is in its database: every run holds a shared lock that the kernel takes
back when the run's process ends, however it ends. So nothing is left behind, and runs can share a
server.

    HOME/prefect/starting      held while somebody decides which server to use
    HOME/prefect/up            held by `automl up`; its text is the address of its server
    HOME/prefect/background    held by the server that a run started; its text is the address
    HOME/prefect/users         held, shared, by every run; the background server waits for it

This module imports neither Prefect nor anything that is slow: the caller goes on loading.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from flows import auth
from flows.settings import API_URL, check_chosen_server, chosen_server, without_prefect
from pipeline_lib.errors import ServerError
from pipeline_lib.files import acquire, locked
from pipeline_lib.home import Home
from pipeline_lib.tracking.templates import begin_with_template

_TRIMMED = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",
}
"""A server for one run needs no block types, automations, telemetry or checks of its own types."""


def client_settings(home: Home, api_url: str) -> dict[str, str]:
    """Environment variables with which Prefect works on our server at `api_url` for `home`."""
    return {**_settings(home, api_url), **auth.prefect_settings()}


def _settings(home: Home, api_url: str) -> dict[str, str]:
    return {
        "PREFECT_HOME": str(home.prefect),
        API_URL: api_url,
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # Prefect's own choice is pickle
    }


class LocalServer:
    """The Prefect server that a run in this process uses.

    Start it first, load what is slow, wait until it is healthy, run the flow. A `with` block points
    the process at the server; the server stays until the process has ended, because Prefect sends
    its last events when the interpreter exits.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.api_url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._user: int | None = None
        self._is_watched = False
        self._environment_before: dict[str, str | None] = {}

    def start_in_background(self) -> None:
        """Choose a server, starting one where there is none, and point this process at it.

        The user's own PREFECT_API_URL wins. Does not wait.
        """
        if chosen := chosen_server():
            self.api_url, settings = chosen, _settings(self.home, chosen)
        else:
            with deciding(self.home):
                self._user = acquire(self.home.prefect / "users", shared=True, wait=True)
                self.api_url = address_of_up(self.home) or self._background_server()
            settings = client_settings(self.home, self.api_url)
        for name, value in settings.items():
            self._environment_before[name] = os.environ.get(name)
            os.environ[name] = value

    def wait_until_healthy(self, timeout_seconds: float = 120.0) -> str:
        """Address of the API of the server, as soon as it answers.

        Raises:
            ServerError: It ended, does not answer in time, or asks for another password.
        """
        if self._user is None:
            check_chosen_server(self.api_url)
            return self.api_url
        deadline = time.monotonic() + timeout_seconds
        while not self._is_ready():
            if self._process is not None and self._process.poll() is not None:
                problem = f"ended with exit code {self._process.returncode} while it started"
                said = last_lines(self._log)
                remedy = f"all it said is in {self._log}"
                raise ServerError(
                    "Prefect server", f"{problem}:\n{said}" if said else problem, remedy=remedy
                )
            if time.monotonic() > deadline:
                remedy = f"what it said is in {self._log}"
                raise ServerError(
                    "Prefect server", "does not answer", value=self.api_url, remedy=remedy
                )
            time.sleep(0.05)
        if self._process is not None and not self._is_watched:
            self._is_watched = True
            threading.Thread(target=self._start_again_when_killed, daemon=True).start()
        return self.api_url

    def _is_ready(self) -> bool:
        """Whether the server answers, and takes our password."""
        return answers(self.api_url) and _takes_password(self.api_url)

    def _start_again_when_killed(self) -> None:
        """Prefect repeats its calls for a minute: time enough for a server on the same port."""
        port = urlsplit(self.api_url).port or 0
        while self._process is not None and self._process.wait() != 0 and self._user is not None:
            with suppress(OSError), deciding(self.home):  # another run may have one by now
                self._background_server(port)
            time.sleep(1)  # where it cannot start, do not try all the time

    def release(self) -> None:
        """Use the server no more, before the process ends."""
        if self._user is not None:
            os.close(self._user)
            self._user = None

    def __enter__(self) -> LocalServer:
        self.start_in_background()
        return self

    def __exit__(self, *exception: object) -> None:
        for name, value in self._environment_before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._process is not None:
            threading.Thread(target=self._process.wait, daemon=True).start()

    @property
    def _log(self) -> Path:
        return self.home.prefect / "background-server.log"

    def _background_server(self, port: int = 0) -> str:
        """Address of the server that runs share; started here when no other run did."""
        record = self.home.prefect / "background"
        lock = claim(record)
        if lock is None:
            return record.read_text(encoding="utf-8").strip()
        try:
            begin_with_template("prefect", self.home.prefect / "prefect.db")
            with (
                socket.create_server(("127.0.0.1", port)) as listener,
                self._log.open("ab" if port else "wb") as log,
            ):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
                os.write(lock, url.encode())
                inherited = (listener.fileno(), lock)
                arguments = [*map(str, inherited), str(self.home.prefect / "users")]
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "flows.background_server", *arguments],
                    pass_fds=inherited,
                    env={**without_prefect(), **client_settings(self.home, url), **_TRIMMED},
                    cwd=self.home.prefect,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        finally:
            os.close(lock)
        return url


@contextmanager
def deciding(home: Home) -> Iterator[None]:
    """Only one process at a time chooses or starts the server of a home."""
    home.prefect.mkdir(parents=True, exist_ok=True)
    with locked(home.prefect / "starting"):
        yield


def claim(path: Path) -> int | None:
    """A descriptor that holds the emptied file `path`, or None when a living process holds it."""
    lock = acquire(path)
    if lock is not None:
        os.ftruncate(lock, 0)
    return lock


def address_of_up(home: Home) -> str | None:
    """Address of the API of the server of `automl up`, None when it is not up."""
    path = home.prefect / "up"
    lock = claim(path)
    if lock is None:
        return path.read_text(encoding="utf-8").strip()
    os.close(lock)
    return None


def answers(url: str) -> bool:
    """Whether a Prefect API answers at `url`."""
    return _status(f"{url}/health", {}, timeout=2) in {200, 401, 403}


def _takes_password(url: str) -> bool:
    """Whether the server shows what is behind its door; one that was killed meanwhile does not.

    Raises:
        ServerError: It asks for another password.
    """
    status = _status(f"{url}/admin/version", auth.authorization(), timeout=30)
    if status == 401:
        remedy = "give AUTOML_PASSWORD or AUTOML_PASSWORD_FILE as `automl up` got it"
        raise ServerError("Prefect server", "asks for a password", value=url, remedy=remedy)
    return status == 200


def _status(url: str, headers: dict[str, str], timeout: float) -> int | None:
    """The status code of the reply, None where there is none."""
    import http.client
    import urllib.error
    import urllib.request

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(urllib.request.Request(url, headers=headers), timeout=timeout) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


def last_lines(log: Path, count: int = 12) -> str:
    """The last lines of a log file, indented."""
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-count:])
