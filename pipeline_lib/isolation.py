"""What a process inherits and must not be decided by: proxies, Python's variables, a long TMPDIR.

Children get an environment that is named: `isolated()`. Their modules are ours and the standard
library's, whatever stands in the working directory or on PYTHONPATH, and they reach this machine
without a proxy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_lib.errors import HomeError

ROOT = Path(__file__).resolve().parents[1]
"""The folder of our packages."""

_OF_PYTHON = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONIOENCODING",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONWARNINGS",
)
_PATHS = (
    "AUTOML_HOME",
    "AUTOML_PASSWORD_FILE",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PREFECT_API_SSL_CERT_FILE",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LONGEST_SOCKET_FOLDER = 40  # of the 107 bytes of a socket's path; the rest is multiprocessing's
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_swapped = threading.Lock()


def isolated(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a child of ours: as this one, without what would change its modules.

    PYTHONSAFEPATH alone is not enough: PYTHONPATH comes before the standard library. So it names
    our own folder, or nothing where we are installed among the other packages.
    """
    kept = {name: value for name, value in environ.items() if name not in _OF_PYTHON}
    kept["PYTHONSAFEPATH"] = "1"  # not the working directory
    kept["PYTHONUTF8"] = "1"  # Prefect reads prefect.yaml as the locale says
    if not ROOT.name.endswith("-packages"):
        kept["PYTHONPATH"] = str(ROOT)
    for name in _PATHS:  # a child may stand in another directory
        if kept.get(name):
            kept[name] = str(Path(kept[name]).absolute())
    reach_loopback_directly(kept)
    return kept


def captured(
    command: Sequence[str | Path], environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What a child of ours said, to both outputs, and how it ended; no locale decides how to read.

    `environ` has more variables for it.
    """
    return subprocess.run(
        command,
        env={**isolated(), **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@contextmanager
def isolating() -> Iterator[None]:
    """Let what multiprocessing starts meanwhile get the environment of `isolated`.

    It takes no environment for its server process, and makes its sockets in the temporary folder.
    """
    import multiprocessing.util
    import tempfile

    with _swapped:
        before, inside = dict(os.environ), isolated()
        folder, short = tempfile.tempdir, short_folder()
        try:
            tempfile.tempdir = short
            multiprocessing.util.get_temp_dir()  # made once a process, removed at its end
            tempfile.tempdir = folder
            become(inside)
            yield
        finally:
            tempfile.tempdir = folder
            _undo(before, inside)


def _undo(before: Mapping[str, str], inside: Mapping[str, str]) -> None:
    """Take back what `inside` changed, not what another thread changed meanwhile."""
    for name in before.keys() | inside.keys():
        now, was = inside.get(name), before.get(name)
        if was == now or os.environ.get(name) != now:
            continue
        if was is None:
            del os.environ[name]
        else:
            os.environ[name] = was


def become(environ: Mapping[str, str]) -> None:
    """Make this process's environment equal to another."""
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    os.environ.update({k: v for k, v in environ.items() if os.environ.get(k) != v})


def reach_loopback_directly(environ: MutableMapping[str, str], *hosts: str) -> None:
    """Except loopback, and more hosts of this machine, from the proxies of an environment.

    Other addresses keep the proxy. httpx, with which Prefect's clients speak, cannot even be
    constructed where a proxy is none that it knows, such as SOCKS without the package socksio;
    with `*` in the list it looks at no proxy at all, while urllib, requests and websockets take
    that for one more name.
    """
    proxies = [value for name, value in environ.items() if _names_a_proxy(name) and value]
    if not proxies:
        return
    known = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    direct = [host.strip() for host in known.split(",") if host.strip()]
    if direct == ["*"]:
        return
    direct += [host for host in (*_LOOPBACK, *hosts) if host not in direct]
    if not all(map(_is_known_to_httpx, proxies)) and "*" not in direct:
        direct.append("*")
    environ["NO_PROXY"] = environ["no_proxy"] = ",".join(direct)


def _names_a_proxy(name: str) -> bool:
    return name.lower() in ("http_proxy", "https_proxy", "all_proxy")


def _is_known_to_httpx(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    schemes = {"http", "https"} | ({"socks5", "socks5h"} if find_spec("socksio") else set())
    return is_address and parts.scheme in schemes


def short_folder() -> str:
    """A folder whose sockets have paths that are short enough: the temporary one, where it is.

    Raises:
        HomeError: TMPDIR is too long, and no shorter folder can be written.
    """
    import tempfile

    ours = tempfile.gettempdir()
    if len(os.fsencode(ours)) <= _LONGEST_SOCKET_FOLDER:
        return ours
    for folder in _SHORT_FOLDERS:
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    problem, remedy = "is too long for the sockets of worker processes", "set a shorter one"
    raise HomeError("TMPDIR", problem, value=ours, remedy=remedy)


def ignore_signals() -> None:
    """Leave them to the parent: a terminal and systemd send them to every process of a run."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
