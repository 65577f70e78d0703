"""Settings of Prefect and MLflow that are named by us, not inherited.

Both take settings from environment variables, Prefect also from profiles and from `.env`,
`prefect.toml` and `pyproject.toml` of the working directory. A variable is the user's choice where
it says which server to use: PREFECT_API_URL and MLFLOW_TRACKING_URI, with what that server needs.
Everything else would change what a run does: where tables are written, how often it is tried.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home
from pipeline_lib.isolation import become, isolated

API_URL, TRACKING_URI = "PREFECT_API_URL", "MLFLOW_TRACKING_URI"
_WITH_API_URL = (
    "PREFECT_API_KEY",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_SSL_CERT_FILE",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
    "PREFECT_CLIENT_CUSTOM_HEADERS",
)
_WITH_TRACKING_URI = (
    "MLFLOW_TRACKING_",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_WORKSPACE",
    "MLFLOW_HTTP_",
    "MLFLOW_KERBEROS_",
    "MLFLOW_MYSQL_SSL_",
    "MLFLOW_S3_",
    "MLFLOW_BOTO_",
    "MLFLOW_GCS_",
    "MLFLOW_ARTIFACT_UPLOAD_",
    "MLFLOW_MULTIPART_",
    "MLFLOW_ENABLE_MULTIPART_",
    "MLFLOW_ENABLE_PROXY_MULTIPART_",
)
_REFUSALS = {401, 403}
_SECONDS = 5.0  # for an answer
_SERVERS = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "UVICORN_")
"""What uvicorn, below both servers, reads."""


def named(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which only the user's choice of servers is left of their settings."""
    url = environ.get(API_URL, "").strip().rstrip("/")
    meant = _WITH_API_URL if url else ()
    if environ.get(TRACKING_URI):
        meant += _WITH_TRACKING_URI
    kept = {
        name: value
        for name, value in isolated(environ).items()
        if not name.startswith(("PREFECT_", "MLFLOW_", *_SERVERS)) or name.startswith(meant)
    }
    for name in (TRACKING_URI, "MLFLOW_REGISTRY_URI"):
        if name in kept:
            kept[name] = _from_anywhere(kept[name])
    return {**kept, API_URL: url} if url else kept


def _from_anywhere(uri: str) -> str:
    """An address of a file of SQLite with the whole path: children stand in other directories."""
    kind, separator, path = uri.partition(":///")
    if not kind.startswith("sqlite") or not separator or path.startswith(("/", ":memory:")):
        return uri
    return f"{kind}{separator}{Path(path).absolute()}"


def without_prefect(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The same without any setting of Prefect: for what speaks to a server of ours alone."""
    return {k: v for k, v in named(environ).items() if not k.startswith("PREFECT_")}


def without_mlflow(environ: Mapping[str, str]) -> dict[str, str]:
    """The same without any setting of MLflow: for a server that keeps to its home."""
    return {k: v for k, v in environ.items() if not k.startswith("MLFLOW_")}


def settle() -> None:
    """Give this process, and so every child, the named environment; let any character be printed.

    Called once, by the command `automl`, before anything reads a setting.
    """
    if "PYTHONWARNINGS" in os.environ:
        _ignore_wishes_for_warnings()
    become(named())
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a locale may lack the characters · and –


def _ignore_wishes_for_warnings() -> None:
    """PYTHONWARNINGS=error would end the import of a package that is deprecated somewhere."""
    sys.warnoptions.clear()
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


def stand_in(home: Home) -> None:
    """Go to the folder of a home in which Prefect finds no settings of somebody else's.

    It reads those of the working directory as it is imported, and a file that is broken would end
    the run. Relative paths have been made absolute before.
    """
    os.environ["AUTOML_HOME"] = str(home.root)
    home.prefect.mkdir(parents=True, exist_ok=True)
    os.chdir(home.prefect)


def chosen_server() -> str | None:
    """The address of the Prefect API that the user chose, None where none was.

    Raises:
        ServerError: It is none.
    """
    url = os.environ.get(API_URL)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        remedy = "give http://HOST:PORT/api, or unset it to have a server started"
        raise ServerError(API_URL, "is no address of an API", value=url, remedy=remedy)
    return url


def check_servers(home: Home) -> None:
    """Refuse a server that the user chose, or a home's MLflow database, that could not be used.

    Raises:
        UserError: One of them could not.
    """
    from pipeline_lib.tracking.address import check_address

    check_address(home)
    if url := chosen_server():
        check_chosen_server(url)


def check_chosen_server(url: str) -> None:
    """Refuse a Prefect API that the user chose and that a run could not use.

    Raises:
        ServerError: Nothing answers there, it is no Prefect API, or it asks for who we are.
    """
    from pipeline_lib.probe import status

    remedy = "start it, or unset the variable to have a server started"
    try:
        found = status(f"{url}/health", {}, _SECONDS)
        if found not in _REFUSALS:
            found = status(f"{url}/admin/version", _authorization(), _SECONDS)
    except OSError as error:
        problem = f"does not answer ({error})"
        raise ServerError(API_URL, problem, value=url, remedy=remedy) from error
    if found in _REFUSALS:
        remedy = "give PREFECT_API_AUTH_STRING or PREFECT_API_KEY for that server"
        raise ServerError(API_URL, "does not let us in", value=url, remedy=remedy)
    if found == 404:
        remedy = "it ends in /api: http://HOST:PORT/api"
        raise ServerError(API_URL, "is no API of Prefect", value=url, remedy=remedy)


def _authorization() -> dict[str, str]:
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    from flows.auth import authorization

    return authorization()
