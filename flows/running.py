"""`automl run`: the flow of the deployments, in this process and on this terminal."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flows.deployments import preset, presets
from flows.loading import stay_silent
from flows.prefect_api import RUN_SETTINGS
from flows.prefect_server import LocalServer
from flows.settings import check_servers, stand_in
from pipeline_lib.addresses import settled
from pipeline_lib.config import RunConfig
from pipeline_lib.config_file import ConfigFile, in_seconds
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.notification import resolve
from pipeline_lib.run.log import log_path
from pipeline_lib.run.stopping import NOTHING, STOPPED, end_process, stoppable
from pipeline_lib.search.engine import find_engine
from pipeline_lib.training.workers import warm_up
from tasks.display import ConsoleLines
from tasks.waiting import waiting_for

_GENERAL_PRESET = "mnist"
_log = logging.getLogger("automl")
_NOTIFY = "AUTOML_NOTIFY"

_QUIET_PREFECT = {
    **RUN_SETTINGS,
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # we say what happens ourselves
}


def run_here(
    data: str | None, given: Mapping[str, Any], *, file: str | None = None, as_json: bool
) -> None:
    """Run a deployment, or a data set of the catalogue, with what the command line gives.

    Raises:
        UserError: What was given cannot be; nothing was started or written.
    """
    from pipeline_lib.run.checks import check

    config = configuration(data, given, file)
    home = Home.from_environment()
    check(config, home, lambda line: print(line, file=sys.stderr, flush=True))
    check_servers(home)
    if config.warm_start:
        from pipeline_lib.run.warm_start import settle

        settle(config, home, config.name or "")  # says what is wrong before anything is started
    home.ensure_writable()
    stand_in(home)
    stay_silent()
    _log.setLevel(logging.INFO)
    _log.addHandler(ConsoleLines())
    _log.info("%s: %s", config.name or config.problem_name, _what_happens(config, home))
    os.environ.update(_QUIET_PREFECT)
    is_over = threading.Event()
    called = config.name or config.problem_name
    with stoppable(lambda: "" if is_over.is_set() else f"{called}: {NOTHING}", end_process):
        server = LocalServer(home)  # Never released: Prefect sends its last lines as it ends.
        server.start_in_background()
        threading.Thread(target=warm_up, daemon=True).start()
        outcome = _run_flow(config, server)
        is_over.set()
    _show(outcome, home, as_json=as_json)


def configuration(data: str | None, given: Mapping[str, Any], file: str | None = None) -> RunConfig:
    """The configuration of a command line: options over the file over the deployment's.

    Raises:
        UserError: Names the field, what it got and what to do; of a file, where in it.
    """
    if data is None and file is None:
        remedy = "name a deployment or a data set, or a file with --config"
        raise ConfigurationError("DATA", "is missing", remedy=remedy)
    base = {} if data is None else _parameters(data)
    options = in_seconds(given)
    if file is None:
        return RunConfig.parse({**in_seconds(base), **options})
    read = ConfigFile.read(file)
    with read.blamed(but=options):
        named = {name: value for name, value in base.items() if name == "dataset"}
        return RunConfig.parse({**in_seconds(base), **in_seconds(read.fields), **named, **options})


def _parameters(data: str) -> dict[str, Any]:
    """Those of a deployment; a data set without one takes the general deployment's."""
    if data in presets():
        return preset(data)
    return {**preset(_GENERAL_PRESET), "dataset": settled("DATA", data, presets())}


def _what_happens(config: RunConfig, home: Home) -> str:
    limit = f" or {config.trials} trials" if config.trials else ""
    return (
        f"{' and '.join(config.engines)} search for {config.budget_seconds:g} s{limit}, "
        f"{config.workers} trials at a time; state in {home.root}"
    )


def _run_flow(config: RunConfig, server: LocalServer) -> dict[str, Any]:
    with waiting_for("Prefect and its server start, torch loads"):
        from prefect.exceptions import CancelledRun

        from flows.automl import automl

        for name in config.engines:  # while the server loads
            find_engine(name).preload()
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


def _show(outcome: dict[str, Any], home: Home, *, as_json: bool) -> None:
    """Print what was found; the run's log holds it too, where the disk takes it."""
    import json

    from tasks.display import print_outcome

    with suppress(OSError), log_path(home, outcome["name"]).open("a", encoding="utf-8") as log:
        print_outcome(outcome, log)
    if as_json:
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()  # the process ends seconds later, and may be killed before
    else:
        print_outcome(outcome, sys.stdout)
