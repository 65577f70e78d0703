"""What `automl up` tells Prefect's server: which runs are over, and how it finds that out itself.

Over its REST API, because a client of Prefect takes seconds to load.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline_lib.errors import ServerError

POOL = "local"
HEARTBEAT_SECONDS = 30
"""How often a run says that it lives; Prefect allows no less."""

RUN_SETTINGS = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_EXTRA_LOGGERS": "automl",
}
"""Environment variables for Prefect wherever the flow runs, in a terminal or under a worker."""

SILENCE_SECONDS = 8 * HEARTBEAT_SECONDS
"""A run that says nothing for so long is taken for dead; other people's speak every 180 s."""

_PATIENCE_SECONDS = 180.0
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled")
_AUTOMATION = "automl: a run that fell silent has crashed"


class PrefectApi:
    """The REST API of a Prefect server, with the headers that let us in."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self._headers = {"Content-Type": "application/json", **headers}
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def has(self, path: str) -> bool:
        """Whether there is something at `path`."""
        try:
            self._request("GET", path)
        except ServerError:
            return False
        return True

    def close_open_runs(self, state: str, message: str) -> None:
        """End, on paper, the pool's runs, which have no worker now: they would block new ones."""
        self._set(self._runs(["PENDING", "RUNNING", "CANCELLING"]), state, message)

    def keep_last_missed_night(self) -> None:
        """Of the scheduled runs that came due while nothing was up, leave each deployment its last.

        The server makes several in advance. Without a worker they wait; it would start them all.
        """
        now = datetime.now(UTC).isoformat()
        due = self._runs(["SCHEDULED"], next_scheduled_start_time={"before_": now})
        missed = [run for run in due if run["auto_scheduled"]]
        missed.sort(key=lambda run: str(run["next_scheduled_start_time"]))
        last = {run["deployment_id"]: run["id"] for run in missed}
        older = [run for run in missed if run["id"] not in last.values()]
        self._set(older, "CANCELLED", "It was missed; a later one is run in its place.")

    def call_silent_runs_crashed(self) -> None:
        """Have the server mark a run CRASHED whose heartbeats stop: its worker died with it."""
        silent = {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "for_each": ["prefect.resource.id"],
            "after": ["prefect.flow-run.heartbeat"],
            "expect": [
                "prefect.flow-run.heartbeat",
                *(f"prefect.flow-run.{end}" for end in _ENDS),
            ],
            "threshold": 1,
            "within": SILENCE_SECONDS,
        }
        message = f"Nothing was heard of it for {SILENCE_SECONDS} seconds."
        crash = {"type": "change-flow-run-state", "state": "CRASHED", "message": message}
        automation = {"name": _AUTOMATION, "trigger": silent, "actions": [crash], "enabled": True}
        ours = {"automations": {"name": {"any_": [_AUTOMATION]}}}
        known = self._request("POST", "automations/filter", ours)
        if known:
            self._request("PUT", f"automations/{known[0]['id']}", automation)
        else:
            self._request("POST", "automations/", automation)

    def _runs(self, states: list[str], **more: Any) -> list[dict[str, Any]]:
        wanted = {"state": {"type": {"any_": states}}, **more}
        pool = {"name": {"any_": [POOL]}}
        found = self._request("POST", "flow_runs/filter", {"flow_runs": wanted, "work_pools": pool})
        return list(found)

    def _set(self, runs: list[dict[str, Any]], state: str, message: str) -> None:
        closed = {"state": {"type": state, "message": message}, "force": True}
        for run in runs:
            self._request("POST", f"flow_runs/{run['id']}/set_state", closed)

    def _request(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON, None where it is empty. A server with a busy database is asked again.

        Raises:
            ServerError: The server does not answer, or refuses.
        """
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.url}/{path}"
        request = urllib.request.Request(url, data, self._headers, method=method)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                with self._direct.open(request, timeout=_PATIENCE_SECONDS) as response:
                    content = response.read()
            except OSError as error:
                if getattr(error, "code", None) == 503 and time.monotonic() < deadline:
                    time.sleep(1)
                    continue
                remedy = "see its log in HOME/prefect"
                problem = f"refuses {url} ({error})"
                raise ServerError("Prefect server", problem, remedy=remedy) from error
            return json.loads(content) if content else None
