"""Who may come in: the password of the servers, and the Host and Origin of every request.

A password protects Prefect's server and MLflow's, whatever the address; without one they are for
this machine alone. It comes from AUTOML_PASSWORD, or from a file of mode 0600 that
AUTOML_PASSWORD_FILE names, and reaches the servers through their environment. In both the user is
`admin`.

This module imports nothing that is slow.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import secrets
import shlex
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home

USER = "admin"
LOOPBACK_NAMES = ("127.0.0.1", "localhost")
_PASSWORD, _PASSWORD_FILE = "AUTOML_PASSWORD", "AUTOML_PASSWORD_FILE"
_MLFLOW_DOOR = "AUTOML_MLFLOW_DOOR"
"""Environment variable of MLflow's server: the address that it listens on, HOST:PORT."""
_SHORTEST = 12
"""What MLflow asks for."""


def password() -> str | None:
    """The password of the environment or of the file that it names; None when there is neither.

    Raises:
        ServerError: It is short or not plain ASCII, or others can read the file. Never shows it.
    """
    if _PASSWORD in os.environ:
        where, given = _PASSWORD, os.environ[_PASSWORD]
    elif _PASSWORD_FILE in os.environ:
        where, given = _PASSWORD_FILE, _read_private(Path(os.environ[_PASSWORD_FILE]))
    else:
        return None
    if len(given) < _SHORTEST or not (given.isascii() and given.isprintable()):
        problem = f"holds no password of {_SHORTEST} or more printable ASCII characters"
        raise ServerError(where, problem, remedy="choose a longer one, or unset it")
    return given


def check_host(host: str, secret: str | None) -> None:
    """Refuse an address that other machines reach, unless there is a password.

    Loopback is 127.0.0.0/8 and `localhost`.

    Raises:
        ServerError: It is such an address, every address of the machine, or IPv6.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if ":" in host or (address is not None and address.is_unspecified):
        remedy = "give one IPv4 address or name of this machine, as people will type it"
        raise ServerError("host", "cannot be listened on", value=host, remedy=remedy)
    is_loopback = host == "localhost" if address is None else address.is_loopback
    if not is_loopback and secret is None:
        remedy = (
            f"set {_PASSWORD}, or {_PASSWORD_FILE} to a file of mode 0600; "
            "or use 127.0.0.1, from elsewhere through ssh -L"
        )
        raise ServerError("host", "is open to other machines", value=host, remedy=remedy)


def prefect_settings() -> dict[str, str]:
    """Environment variables: Prefect's server asks for the password, its clients give it."""
    secret = password()
    names = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")
    return {} if secret is None else dict.fromkeys(names, f"{USER}:{secret}")


def mlflow_settings(home: Home, host: str, port: int) -> dict[str, str]:
    """Environment variables of `guarded_mlflow`, which asks for the password where there is one."""
    secret = password()
    settings = {} if secret is None else _mlflow_users(home, secret)
    return {_MLFLOW_DOOR: f"{host}:{port}", **settings}


def _mlflow_users(home: Home, secret: str) -> dict[str, str]:
    """For MLflow's app `basic-auth`, whose one user has today's password.

    MLflow keeps the first password it was started with in a database of its own: it is made anew.
    """
    database = home.mlflow_database.with_name("users.db")
    for old in database.parent.glob(f"{database.name}*"):
        old.unlink()
    configuration = database.with_name("basic-auth.ini")
    lines = ("[mlflow]", "default_permission = NO_PERMISSIONS", f"admin_username = {USER}")
    place = str(database).replace("%", "%%")  # configparser's own sign
    text = "\n".join((*lines, f"database_uri = sqlite:///{place}", ""))
    for path, content in ((configuration, text), (database, "")):
        path.unlink(missing_ok=True)
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(content)
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(configuration),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": secret,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


def authorization(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The header with which a request to Prefect's server gives the password."""
    given = environment.get("PREFECT_API_AUTH_STRING")
    if given is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(given.encode()).decode()}"}


def _read_private(path: Path) -> str:
    remedy = f"a file of yours, of mode 0600, with the password: chmod 600 {shlex.quote(str(path))}"
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                mode = oct(stat.S_IMODE(status.st_mode))
                raise ServerError(_PASSWORD_FILE, "is open to others", value=mode, remedy=remedy)
            return file.read(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({error})"
        raise ServerError(_PASSWORD_FILE, problem, remedy=remedy) from error


class Guard:
    """An ASGI application behind a door: a foreign Host or Origin gets 403, also for WebSockets.

    So no page of another site reaches it through the browser of somebody who may, neither by its
    own name nor by one that was made to point here. A Host is ours by its name, whatever the port,
    for tunnels; an Origin is ours when it is the Host that was asked, or a name of ours with our
    port. Pages may not speak to anybody else either: Prefect's calls an analytics service, which no
    setting of it turns off.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        self.app = app
        self.names = {host.lower(), *LOOPBACK_NAMES}
        addresses = sorted(f"{name}:{port}" for name in self.names)
        self.origins = {f"http://{address}" for address in addresses}
        ours = " ".join(f"{scheme}://{each}" for each in addresses for scheme in ("http", "ws"))
        policy = f"default-src 'self' {ours} data: blob: 'unsafe-inline' 'unsafe-eval'"
        self._policy = (b"content-security-policy", policy.encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""

        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), self._policy]}
            await send(message)

        if scope["type"] == "lifespan" or self._is_ours(scope["headers"]):
            await self.app(scope, receive, send_with_policy)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
        else:
            text = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": text})
            await send({"type": "http.response.body", "body": b"foreign Host or Origin\n"})

    def _is_ours(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        given = [(name, value.decode("latin-1")) for name, value in headers]
        hosts = [value for name, value in given if name == b"host"]
        if len(hosts) != 1 or _name(hosts[0]) not in self.names:
            return False
        ours = {*self.origins, f"http://{hosts[0]}"}
        return all(value in ours for name, value in given if name == b"origin")


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def serve_prefect(host: str, port: int) -> None:
    """Be Prefect's server with its pages, as `prefect server start` is, behind a `Guard`."""
    import uvicorn
    from prefect.server.api.server import create_app

    app = Guard(create_app(final=True), host, port)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)


def guarded_mlflow() -> Guard:
    """MLflow's own app, behind a `Guard`: what `mlflow server --app-name automl` serves."""
    from flows.landing import Landing

    host, _, port = os.environ[_MLFLOW_DOOR].rpartition(":")
    if "MLFLOW_AUTH_CONFIG_PATH" in os.environ:
        from mlflow.server.auth import create_app

        return Guard(Landing(create_app()), host, int(port))
    from mlflow.server.fastapi_app import app

    return Guard(Landing(app), host, int(port))


if __name__ == "__main__":
    serve_prefect(sys.argv[1], int(sys.argv[2]))
