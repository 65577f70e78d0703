"""Telling somebody how a run ended: a webhook, or a service that Apprise knows.

An address holds secrets, so nothing here ever shows one: a warning names its host or service.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from pipeline_lib.errors import ConfigurationError

_FIELD = "notify"
_LIMIT_SECONDS = 10.0

_log = logging.getLogger("automl")


@dataclass(frozen=True)
class Message:
    """How a run ended; what is not known of it is empty."""

    name: str
    state: str  # completed, failed, crashed or cancelled
    verdict: str = ""  # one sentence
    metric: str = ""  # what the winner is best by
    value: float | None = None  # of that metric, on validation
    test_accuracy: float | None = None  # in [0, 1]
    reason: str = ""  # why it did not complete
    report: str = ""  # where the report is: a file
    mlflow: str = ""  # address of the run in MLflow's UI, where that is up

    @property
    def text(self) -> str:
        """All of it for people; chat services show this field of a webhook's JSON."""
        lines = (f"{self.name} {self.state}", self.verdict, self.reason, self.report, self.mlflow)
        return "\n".join(line for line in lines if line)


def resolve(address: str) -> str:
    """The address, that of the environment variable where it is `env:NAME`, found usable.

    Raises:
        ConfigurationError: The variable is not set, or it is no address of a webhook or service.
    """
    whose = "is"
    if named := re.fullmatch(r"env:([A-Za-z_]\w*)", address):
        whose, address = f"holds, in {named[1]},", os.environ.get(named[1], "")
        if not address:
            problem = "names an environment variable that is not set"
            raise ConfigurationError(_FIELD, problem, value=f"env:{named[1]}", remedy="set it")
    if not (_is_webhook(address) or _service(address) is not None):
        problem = f"{whose} no address of a webhook or of a service of Apprise"
        remedy = "give https://…, an address such as slack://…, or env:NAME"
        raise ConfigurationError(_FIELD, problem, remedy=remedy)
    return address


def send(address: str, message: Message) -> None:
    """Tell it; where that fails, one warning, and nothing more."""
    try:
        address = resolve(address)
        problem = _post(address, message) if _is_webhook(address) else _notify(address, message)
    except ConfigurationError as error:
        _log.warning("%s: nobody was told", error)
        return
    if problem:
        parts = urlsplit(address)
        called = parts.hostname if _is_webhook(address) else parts.scheme
        _log.warning("%s: %s was not told (%s)", _FIELD, called, problem)


def _is_webhook(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(
            re.fullmatch(r"https?://[!-~]+", address) and parts.hostname and parts.port != 0
        )
    except ValueError:
        return False


def _service(address: str) -> Any:
    """Apprise with this one service; None where Apprise does not know it."""
    import apprise

    logging.getLogger("apprise").disabled = True  # it writes addresses down
    service = apprise.Apprise()
    return service if service.add(address) else None


def _post(address: str, message: Message) -> str:
    """Why it could not be posted; empty where it was."""
    body = json.dumps({**asdict(message), "text": message.text}).encode()
    parts = urlsplit(address)
    headers = {"Content-Type": "application/json", "User-Agent": "automl"}
    request = urllib.request.Request(parts._replace(fragment="").geturl(), body, headers)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_LIMIT_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except urllib.error.URLError as error:
        return getattr(error.reason, "strerror", None) or type(error.reason).__name__
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def _notify(address: str, message: Message) -> str:
    title = f"{message.name} {message.state}"
    done = _service(address).notify(body=message.text, title=title)
    return "" if done else "it did not take the message"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and its secrets go elsewhere."""

    def redirect_request(self, *_: object) -> None:
        """Never."""
