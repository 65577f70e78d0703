"""The flow `automl`: data, searches, comparison, decision, drawing, test, registration, report."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import psutil
from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.ending import Ending
from flows.parameters import takes_the_configuration
from flows.telling import tell
from pipeline_lib.config import RunConfig
from pipeline_lib.data.store import PreparedData
from pipeline_lib.errors import Stopped, UserError
from pipeline_lib.home import Home
from pipeline_lib.run.finish import Findings, load_ahead
from pipeline_lib.run.log import logged
from pipeline_lib.run.progress import Progress
from pipeline_lib.run.run import Run, begin, check_budget, check_data, claim_name, made_up_name
from pipeline_lib.run.stopping import stoppable
from pipeline_lib.search.engine import Engine
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial
from tasks.compare import build_ensemble, decide, hold_contest, rank_trials
from tasks.data import load_data
from tasks.display import showing
from tasks.engines import prepare_engines
from tasks.evaluate import evaluate_winner
from tasks.hpo import search_hyperparameters
from tasks.nas import search_architectures
from tasks.register import register
from tasks.report import report

_SEARCHES = {"optuna": search_hyperparameters, "autopytorch": search_architectures}
_FIRST_TRIAL_SECONDS = 10.0


def _study_name() -> str:
    """The study's name; the flow run takes it, so that both UIs call the run the same."""
    given = {name: value for name, value in flow_run.parameters.items() if value is not None}
    try:
        config = RunConfig.parse(given)
        check_data(config)
        check_budget(config)
        return config.name or claim_name(Home.from_environment(), config.dataset)
    except (UserError, OSError):  # the run will say it, and writes nothing
        return given.get("name") or made_up_name("automl")


@flow(
    name="automl",
    flow_run_name=_study_name,
    retries=0,  # named: no setting may search, and open the test set, again
    persist_result=False,
    task_runner=ThreadPoolTaskRunner(max_workers=len(_SEARCHES)),
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
    record = Record(run)
    ending = Ending(run, record)
    try:
        with (
            logged(run.home, run.name),
            stoppable(ending.why_now, ending.at_once) as stop,
            record,
        ):
            return _stages(run, record, ending, stop)
    except Stopped as stopped:
        return ending.cancelled(str(stopped))


def _stages(run: Run, record: Record, ending: Ending, stop: threading.Event) -> dict[str, Any]:
    """One task after the other, the searches side by side; what the run found, as JSON values."""
    prepared = load_data(run)
    engines = prepare_engines(run)
    begin(run, prepared, record)
    began = time.time()
    progress = [Progress(engine.name, run.config.budget_seconds) for engine in engines]
    ending.search_begins(progress)
    found = _search(run, engines, prepared, record, stop, progress)
    ending.search_ended(stop)
    searched = time.time()
    outcome = _finish(run, found, prepared, record)
    run_id = record.recorder.run_id
    first = min((p.first_trial for p in progress if p.first_trial), default=began)
    return {"run_id": run_id, **outcome, "seconds": _seconds(first, searched)}


def _finish(run: Run, found: list[Trial], prepared: PreparedData, record: Record) -> dict[str, Any]:
    """From the trials to the registered winner and the verdict on it."""
    visible = prepared.search_data(run.config.split_seed, run.config.validation_share)
    candidates = build_ensemble(run, found, visible, record)
    winner = rank_trials(run, candidates.trials, record)
    contest = hold_contest(run, candidates, winner, visible, record)
    choice = decide(run, winner, contest)
    test = evaluate_winner(run, choice, prepared, record)
    registration = register(run, choice, prepared, test, record)
    findings = Findings(candidates.trials, choice, test, registration)
    found: dict[str, Any] = report(run, findings, visible, record)
    return found


def _search(
    run: Run,
    engines: list[Engine],
    prepared: PreparedData,
    record: Record,
    stop: threading.Event,
    watched: list[Progress],
) -> list[Trial]:
    """Run the engines side by side on one split and one clock; all their trials."""
    visible = prepared.search_data(run.config.split_seed, run.config.validation_share)
    deadline = time.monotonic() + run.config.budget_seconds
    running = []
    with showing(watched):
        for engine, progress in zip(engines, watched, strict=True):
            request = run.request(visible, engine.name, len(engines), deadline)
            search = _SEARCHES[engine.name]
            running.append(search.submit(engine, request, progress, record, stop))
        _load_what_comes_after(watched)
        return [trial for search in running for trial in search.result()]


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
