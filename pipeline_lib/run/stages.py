"""The stages of a run: the one list that the library follows, and that tasks of the flow wrap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_lib.data.splits import Split
from pipeline_lib.errors import Stopped
from pipeline_lib.outcome import Choice, ComparisonResult, Findings, Registration
from pipeline_lib.report.files import REPORT, keep
from pipeline_lib.report.verdict import sentence, verdict
from pipeline_lib.run import finish
from pipeline_lib.run import run as start
from pipeline_lib.run.progress import Lines, Progress
from pipeline_lib.run.stopping import NOTHING
from pipeline_lib.search.engine import Engine, SearchRequest
from pipeline_lib.selection import leaderboard
from pipeline_lib.test_result import TestResult
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.selection.ensemble import Candidates


@dataclass(frozen=True)
class Search:
    """One engine's search: what it is asked, and how it stands."""

    engine: Engine
    request: SearchRequest
    progress: Progress


Conduct = Callable[[Sequence[Search], Record, threading.Event], list[Trial]]
"""Runs searches side by side, records their trials and returns all of them."""


class Work:
    """A run in progress: each stage adds what it made.

    No dataclass: of one that is handed to a task, Prefect looks through every field.
    """

    split: Split
    engines: list[Engine]
    searches: Sequence[Search] = ()
    searched: float  # time.time() when the last search ended
    trials: list[Trial]
    candidates: Candidates
    winner: Trial
    compared: ComparisonResult
    choice: Choice
    test: TestResult | None
    registration: Registration
    summary: dict[str, Any]  # what the run found, as JSON values

    def __init__(
        self, run: start.Run, record: Record, stop: threading.Event, conduct: Conduct
    ) -> None:
        self.run, self.record, self.stop, self.conduct = run, record, stop, conduct

    @property
    def findings(self) -> Findings:
        """What the run found, once its winner is registered."""
        return Findings(
            self.run.name,
            self.run.config,
            self.candidates.trials,
            self.run.ensembles.leading(),
            self.choice,
            self.test,
            self.registration,
        )


@dataclass(frozen=True)
class Stage:
    """One step of a run. `tries` counts those after an error that is not the user's."""

    name: str
    do: Callable[[Work], None]
    tries: int = 1
    timeout_seconds: float | None = None


def _load_data(work: Work) -> None:
    work.split = start.load_data(work.run)


def _prepare_engines(work: Work) -> None:
    work.engines = start.prepare_engines(work.run)


def _search(work: Work) -> None:
    """Run the engines side by side on one split and one clock."""
    run = work.run
    start.begin(run, work.split, work.record)
    budget, count = run.config.budget_seconds, len(work.engines)
    deadline = time.monotonic() + budget
    work.searches = [
        Search(
            engine,
            run.request(work.split, engine.name, count, deadline),
            Progress(engine.name, budget),
        )
        for engine in work.engines
    ]
    work.trials = work.conduct(work.searches, work.record, work.stop)
    work.searched = time.time()
    if work.stop.is_set():
        work.record.killed()
        if leaderboard.best(work.trials) is None:
            raise Stopped(run.name, NOTHING)


def _build_ensemble(work: Work) -> None:
    work.candidates = finish.build_ensemble(work.run, work.trials, work.split, work.record)


def _rank(work: Work) -> None:
    work.winner = finish.rank(work.run, work.candidates.trials, work.record)


def _compare(work: Work) -> None:
    work.compared = finish.compare_candidates(
        work.run, work.candidates, work.winner, work.split, work.record
    )


def _decide(work: Work) -> None:
    work.choice = finish.decide(work.run, work.winner, work.compared)


def _test(work: Work) -> None:
    work.test = finish.test_winner(work.run, work.choice, work.split.source, work.record)


def _register(work: Work) -> None:
    work.registration = finish.register(
        work.run, work.choice, work.split.problem, work.test, work.record
    )


def _report(work: Work) -> None:
    """Keep what the report is written from, and sum up."""
    run, findings, recorder = work.run, work.findings, work.record.recorder
    recorder.log_artifact(keep(run.directory, findings, work.split.problem))
    recorder.set_note(verdict(findings))
    drawings = {
        f"diagram_{kind}": run.directory / f"architecture.{kind}" for kind in ("pdf", "svg")
    }
    work.summary = {
        "run_id": recorder.run_id,
        **finish.summary(findings),
        "verdict": sentence(
            work.split.problem.name, findings.winner, findings.test, findings.untested
        ),
        "report": str(run.directory / REPORT),
        "leaderboard": str(run.directory / "leaderboard.csv"),
        "artifacts": {name: str(path) for name, path in drawings.items()},
    }


SEARCH = Stage("search", _search)
RANK = Stage("rank the trials", _rank)
COMPARE = Stage("compare with the champion", _compare)
REPORTING = Stage("report", _report)

STAGES = (
    Stage("load data", _load_data, tries=3, timeout_seconds=1800),
    Stage("prepare engines", _prepare_engines),
    SEARCH,
    Stage("build an ensemble", _build_ensemble),
    RANK,
    COMPARE,
    Stage("decide whether it becomes champion", _decide),
    Stage("test the winner, if that is due", _test),
    Stage("register the winner", _register, tries=3),
    REPORTING,
)


def side_by_side(searches: Sequence[Search], record: Record, stop: threading.Event) -> list[Trial]:
    """Conduct searches in threads, and log how they stand."""
    with ThreadPoolExecutor(len(searches)) as threads:
        running = [
            threads.submit(
                start.search, each.engine, each.request, stop, _listener(each.progress, record)
            )
            for each in searches
        ]
    return [trial for search in running for trial in search.result()]


def _listener(progress: Progress, record: Record) -> Callable[[Trial], None]:
    """Records every snapshot of a trial, and logs how the search stands."""
    lines = Lines(progress)

    def on_trial(trial: Trial) -> None:
        improved = progress.add(trial)
        record.trial(trial)
        (lines.say if improved else lines.say_if_due)()

    return on_trial
