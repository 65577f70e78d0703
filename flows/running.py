"""`automl run`: the flow of the deployments, in this process and on this terminal."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.deployments import preset, presets
from flows.prefect_api import RUN_SETTINGS
from flows.prefect_server import LocalServer
from flows.settings import check_servers, stand_in
from pipeline_lib.config import RunConfig, choice, parse_seconds
from pipeline_lib.data.catalogue import CATALOGUE
from pipeline_lib.home import Home
from pipeline_lib.notification import resolve
from pipeline_lib.stopping import NOTHING, STOPPED, end_process, stoppable
from pipeline_lib.training.workers import warm_up
from tasks.display import ConsoleLines

_GENERAL_PRESET = "mnist"
_log = logging.getLogger("automl")
_NOTIFY = "AUTOML_NOTIFY"

_QUIET_PREFECT = {
    **RUN_SETTINGS,
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # we say what happens ourselves
}


def run_here(preset_name: str, given: Mapping[str, Any], *, as_json: bool) -> None:
    """Run a preset, or a data set of the catalogue, with what was given on the command line.

    Raises:
        UserError: What was given cannot be; nothing was started or written.
    """
    from pipeline_lib.run import check_data

    config = configuration(preset_name, given)
    home = Home.from_environment()
    check_data(config)
    check_servers(home)
    if config.warm_start:
        from pipeline_lib.warm_start import settle

        settle(config, home, config.name or "")  # says what is wrong before anything is started
    home.ensure_writable()
    stand_in(home)
    os.environ.update(_QUIET_PREFECT)
    is_over = threading.Event()
    with stoppable(lambda: "" if is_over.is_set() else f"{preset_name}: {NOTHING}", end_process):
        _log.addHandler(ConsoleLines())
        server = LocalServer(home)  # Never released: Prefect sends its last lines as it ends.
        server.start_in_background()
        threading.Thread(target=warm_up, daemon=True).start()
        outcome = _run_flow(config, server)
        is_over.set()
    _show(outcome, as_json=as_json)


def configuration(preset_name: str, given: Mapping[str, Any]) -> RunConfig:
    """The configuration of a command line: a preset's parameters, those given put over them.

    Raises:
        UserError: Names the field, what it got and what to do.
    """
    known = presets()
    choice("preset", preset_name, list(dict.fromkeys([*known, *CATALOGUE])))
    base = preset(preset_name if preset_name in known else _GENERAL_PRESET)
    fields = {**base, **given}
    if preset_name not in known:
        fields["dataset"] = preset_name
    if "budget" in fields:
        fields["budget_seconds"] = parse_seconds(str(fields.pop("budget")))
    config = RunConfig.parse(fields)
    place = config.data and str(Path(config.data).absolute())
    return config.model_copy(update={"data": place})


def _run_flow(config: RunConfig, server: LocalServer) -> dict[str, Any]:
    from prefect.exceptions import CancelledRun

    from flows.automl import automl

    server.wait_until_healthy()
    parameters = {**config.model_dump(), "notify": _out_of_prefect(config.notify)}
    try:
        outcome: dict[str, Any] = automl(**parameters)
    except CancelledRun as stopped:
        _log.warning("%s", stopped)
        sys.exit(STOPPED)
    return outcome


def _out_of_prefect(address: str | None) -> str | None:
    """The address to notify, where Prefect, which keeps parameters, does not see it."""
    if address is None:
        return None
    os.environ[_NOTIFY] = resolve(address)
    return f"env:{_NOTIFY}"


def _show(outcome: dict[str, Any], *, as_json: bool) -> None:
    import json

    if as_json:
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()  # the process ends seconds later, and may be killed before
        return
    from tasks.display import print_outcome

    print_outcome(outcome)
