"""MLflow's pages open where its people look first: at the trials, best first, with their accuracy.

MLflow keeps what a table shows in the browser, and begins with its pages for language models and a
table without a metric. A script of ours in its page gives a browser that has no settings yet those
of `trials_view`. Names and form are MLflow's own (3.17, `useWorkflowType`, `ExperimentPage`); a
version that reads them no more opens as it usually does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pipeline_lib.tracking.experiments import experiment_name, trials_view

_SCRIPT = """<script>
(() => {
  const state = %s;
  const begin = (key, value) => {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
  };
  begin("mlflow.workflowType_v1", "machine_learning");
  begin("mlflow.settings.telemetry.enabled_v1", false);
  begin("mlflow.telemetry.info.alert.dismissed_v1", true);
  begin("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", true);
  for (const id of state.experiments) {
    const page = `ExperimentPage-["${id}"]-ReactComponentState`;
    begin(`MLflowLocalStorage-1.1-${page}`, state.view);
  }
  const [latest] = state.experiments;
  if (["", "#/"].includes(location.hash)) {
    location.replace(latest ? `#/experiments/${latest}/runs` : "#/experiments");
  }
})();
</script>"""


class Landing:
    """An ASGI application, MLflow's, whose page carries our script."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        script = await asyncio.to_thread(_script)
        # A page that the browser has kept would carry the experiments of another day.
        headers = [(k, v) for k, v in scope["headers"] if not k.startswith(b"if-")]
        await self.app({**scope, "headers": headers}, receive, _inserting(script, send))


def _script() -> bytes:
    state = {"experiments": _experiments(), "view": trials_view()}
    return (_SCRIPT % json.dumps(state).replace("<", "\\u003c")).encode()


def _inserting(script: bytes, send: Any) -> Callable[[Any], Any]:
    """What passes an HTML page on with a script at the start of its head."""
    start: dict[str, Any] = {}
    body = bytearray()

    async def pass_on(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        page = bytes(body).replace(b"<head>", b"<head>" + script, 1)
        dropped = (b"content-length", b"etag", b"last-modified", b"accept-ranges")
        kept = [(k, v) for k, v in start["headers"] if k.lower() not in dropped]
        kept.append((b"content-length", str(len(page)).encode()))
        await send({**start, "headers": kept})
        await send({"type": "http.response.body", "body": page})

    return pass_on


def _experiments() -> list[str]:
    """Ids of our experiments, the one that changed last first; none where they cannot be read."""
    from mlflow.exceptions import MlflowException
    from mlflow.server.handlers import _get_tracking_store  # of the server that this process is

    try:
        found = _get_tracking_store().search_experiments(
            filter_string=f"name LIKE '{experiment_name('')}%'",
            order_by=["last_update_time DESC"],
        )
    except MlflowException:
        return []
    return [str(experiment.experiment_id) for experiment in found]
