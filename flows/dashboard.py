"""`automl dashboard`: optuna-dashboard on the study of a run, until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from pipeline_lib.errors import ServerError, UserError
from pipeline_lib.home import Home
from pipeline_lib.options import choice

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

_HOST = "127.0.0.1"
_CHANGING = ("AddBox", "Delete", "DriveFileRenameOutline", "Edit", "RateReview", "Rule")
"""Icons of what would change a study, and of what this server has none of (notes, a chat model)."""
_HIDDEN = ", ".join(
    f"{element}:has(svg[data-testid={icon}Icon])"
    for icon in _CHANGING
    for element in ("button", "li")
)
_STYLE = f"<style>{_HIDDEN} {{ display: none !important }}</style></head>".encode()


def show(home: Home, name: str | None, port: int) -> None:
    """Serve the Optuna study of a run, of the latest where none is named, to this machine.

    Raises:
        UserError: There is no such study.
        ServerError: The port is taken.
    """
    directory = _study(home, name)
    try:
        server = make_server(_HOST, port, _application(directory), _Server, _Quiet)
    except OSError as error:
        problem = f"cannot listen on its port ({error.strerror})"
        remedy = "choose another with --port"
        raise ServerError("dashboard", problem, value=port, remedy=remedy) from error
    print(f"{directory.parent.name} is at http://{_HOST}:{port}/dashboard\nCtrl-C stops it.")
    sys.stdout.flush()
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _study(home: Home, name: str | None) -> Path:
    """Where a run keeps its Optuna study."""
    from pipeline_lib.search.journal import journal

    found = [path for path in (home.root / "studies").glob("*/optuna") if journal(path).exists()]
    if not found:
        remedy = "`automl run … --engine optuna` begins one; --home says where to look"
        raise UserError(
            "dashboard", "no run has an Optuna study", value=str(home.root), remedy=remedy
        )
    found.sort(key=lambda path: journal(path).stat().st_mtime, reverse=True)
    by_name = {path.parent.name: path for path in found}
    return by_name[choice("run", name, by_name)] if name else found[0]


def _application(directory: Path) -> WSGIApplication:
    """Optuna's dashboard, to look at only: any page in the browser could ask it to delete."""
    from optuna_dashboard import wsgi

    from pipeline_lib.search.journal import open_storage

    dashboard = wsgi(open_storage(directory))

    def look(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        asked = environ.get("HTTP_HOST", "").partition(":")[0]
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"} and asked in {_HOST, "localhost"}:
            if environ["PATH_INFO"].startswith("/dashboard"):
                return _without_changing(dashboard, environ, start)
            return dashboard(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"automl dashboard shows a study to this machine, and changes nothing\n"]

    return look


def _without_changing(
    dashboard: WSGIApplication, environ: dict[str, Any], start: StartResponse
) -> list[bytes]:
    """The page without the buttons that would be refused."""
    begun: list[Any] = []
    page = b"".join(
        dashboard(environ, lambda *status, **_: begun.extend(status) or (lambda _: None))
    )
    page = page.replace(b"</head>", _STYLE, 1)
    status, headers = begun[:2]
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start(status, [*kept, ("Content-Length", str(len(page)))])
    return [page]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep requests off the terminal."""
