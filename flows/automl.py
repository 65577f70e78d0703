"""The flow `automl`: data, searches, comparison, decision, drawing, test, registration, report."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import psutil
from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.ending import Ending
from flows.hooks import tell
from flows.parameters import takes_the_configuration
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import Stopped, UserError
from pipeline_lib.home import Home
from pipeline_lib.names import ENGINES
from pipeline_lib.run.checks import check
from pipeline_lib.run.finish import load_ahead
from pipeline_lib.run.log import logged
from pipeline_lib.run.progress import Progress
from pipeline_lib.run.run import Run, claim_name, default_name
from pipeline_lib.run.stages import SEARCH, STAGES, Search, Work
from pipeline_lib.run.stopping import stoppable
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial
from tasks.display import showing
from tasks.search import search_task
from tasks.stage import as_task

TASKS = {stage.name: as_task(stage) for stage in STAGES if stage is not SEARCH}
"""The task of each stage; searching is one task an engine."""
_FIRST_TRIAL_SECONDS = 10.0


def _study_name() -> str:
    """The study's name; the flow run takes it, so that both UIs call the run the same."""
    given = {name: value for name, value in flow_run.parameters.items() if value is not None}
    try:
        config = RunConfig.parse(given)
        home = Home.from_environment()
        check(config, home)
        return config.name or claim_name(home, config.problem_name)
    except (UserError, OSError):  # the run will say it, and writes nothing
        return given.get("name") or default_name("automl")


@flow(
    name="automl",
    flow_run_name=_study_name,
    retries=0,  # named: no setting may search, and open the test set, again
    persist_result=False,
    task_runner=ThreadPoolTaskRunner(max_workers=len(ENGINES)),
    on_completion=[tell],
    on_failure=[tell],
    on_crashed=[tell],
    on_cancellation=[tell],
)
@takes_the_configuration
def automl(config: RunConfig) -> Any:
    """Find the best classifier of a data set within a budget, and measure a champion once."""
    logging.getLogger("automl").setLevel(logging.INFO)
    run = Run.begin(config, Home.from_environment(), config.name or flow_run.name)
    with run.locked():
        record = Record(run.home, run.name, run.config)
        ending = Ending(run, record)
        try:
            with (
                logged(run.home, run.name),
                stoppable(ending.why_now, ending.at_once) as stop,
                record,
            ):
                return _stages(Work(run, record, stop, partial(_conduct, ending)))
        except Stopped as stopped:
            return ending.cancelled(str(stopped))


def _stages(work: Work) -> dict[str, Any]:
    """One task after the other; what the run found, as JSON values."""
    began = time.time()
    for stage in STAGES:
        TASKS.get(stage.name, stage.do)(work)
    first = [search.progress.first_trial for search in work.searches if search.progress.first_trial]
    return {**work.summary, "seconds": _seconds(min(first, default=began), work.searched)}


def _conduct(
    ending: Ending, searches: Sequence[Search], record: Record, stop: threading.Event
) -> list[Trial]:
    """Run the engines' searches as tasks, side by side; all their trials."""
    watched = [search.progress for search in searches]
    ending.search_begins(watched)
    with showing(watched):
        running = [search_task(search.engine).submit(search, record, stop) for search in searches]
        _load_what_comes_after(watched)
        found = [trial for search in running for trial in search.result()]
    ending.search_ended(stop)
    return found


def _load_what_comes_after(watched: list[Progress]) -> None:
    """Load what the last stages need while the searches go on; no search needs it.

    Not before the first trial, or long: loading would keep the searches from starting it.
    """
    patience = time.monotonic() + _FIRST_TRIAL_SECONDS
    while time.monotonic() < patience and not any(p.first_trial for p in watched):
        time.sleep(0.05)
    load_ahead()


def _seconds(first_trial: float, searched: float) -> dict[str, float]:
    """Where the time went since the process began."""
    began, now = psutil.Process().create_time(), time.time()
    spans = {
        "startup": first_trial - began,
        "search": searched - first_trial,
        "finish": now - searched,
        "total": now - began,
    }
    return {name: round(seconds, 2) for name, seconds in spans.items()}
