"""The whole run in one call, for those who want it without Prefect."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib import finish
from pipeline_lib import run as stages
from pipeline_lib.config import RunConfig
from pipeline_lib.data.prepared import PreparedData
from pipeline_lib.errors import Stopped
from pipeline_lib.home import Home
from pipeline_lib.record import Record
from pipeline_lib.selection.compare import best
from pipeline_lib.stopping import NOTHING, stoppable
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.data.prepared import SearchData
    from pipeline_lib.engines.base import Engine
    from pipeline_lib.evaluation import TestResult


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind."""

    run_id: str  # of the pipeline's run in MLflow
    findings: finish.Findings
    directory: Path  # report, model card, leaderboard, diagrams, test figures

    @property
    def trials(self) -> list[Trial]:
        """All that were conducted."""
        return self.findings.trials

    @property
    def winner(self) -> Trial:
        """The best of them on validation."""
        return self.findings.winner

    @property
    def test(self) -> TestResult | None:
        """What the winner is worth on the test set; None where that stayed closed."""
        return self.findings.test

    @property
    def model(self) -> str:
        """The winner's `models:/…` address, as champion or challenger."""
        return self.findings.registration.address


def find_model(config: RunConfig, home: Home | None = None) -> Outcome:
    """Search, compare, decide, draw, test and register, as the flow `automl` does.

    Guard the call with `if __name__ == "__main__":`, since trials run in processes of their own.
    Nobody is told of its end: `notify` is the flow's.

    Raises:
        UserError: The data cannot be had, the home not be written, or the study is another's.
        Stopped: A signal ended it before a trial left a model.
        AutomlError: No trial left a model.
    """
    from pipeline_lib.report.files import publish

    run = stages.Run.begin(config, home or Home.from_environment())
    with stoppable() as stop, Record(run) as record:
        data = stages.load_data(run)
        engines = stages.prepare_engines(run)
        stages.begin(run, data, record)
        visible = data.search_data(config.split_seed, config.validation_share)
        found = _search(run, engines, visible, record, stop)
        findings = _finish(run, found, data, record)
        publish(run, findings, visible, record)
        return Outcome(record.recorder.run_id, findings, run.directory)


def _finish(
    run: stages.Run, found: list[Trial], data: PreparedData, record: Record
) -> finish.Findings:
    """From the trials to the registered winner."""
    visible = data.search_data(run.config.split_seed, run.config.validation_share)
    candidates = finish.build_ensemble(run, found, visible, record)
    winner = finish.rank(run, candidates.trials, record)
    contest = finish.hold_contest(run, candidates, winner, visible, record)
    choice = finish.decide(run, winner, contest)
    finish.draw_winner(run, winner, visible, record)
    test = finish.test_winner(run, choice, data, record)
    registration = finish.register(run, choice, data, test, record)
    return finish.Findings(candidates.trials, choice, test, registration)


def _search(
    run: stages.Run,
    engines: list[Engine],
    data: SearchData,
    record: Record,
    stop: threading.Event,
) -> list[Trial]:
    """Run the engines side by side on one split and one clock; all their trials."""
    deadline = time.monotonic() + run.config.budget_seconds
    with ThreadPoolExecutor(len(engines)) as threads:
        searches = [
            threads.submit(
                stages.search,
                engine,
                run.request(data, engine.name, len(engines), deadline),
                stop,
                record.trial,
            )
            for engine in engines
        ]
    found = [trial for search in searches for trial in search.result()]
    if stop.is_set():
        record.killed()
        if best(found) is None:
            raise Stopped(run.name, NOTHING)
    return found
