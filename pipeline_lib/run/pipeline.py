"""The whole run in one call, for those who want it without Prefect."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline_lib.config import RunConfig
from pipeline_lib.data.sources.catalogue import Dataset
from pipeline_lib.data.store import PreparedData, SearchData
from pipeline_lib.errors import ImageError, Stopped
from pipeline_lib.home import Home
from pipeline_lib.run import finish
from pipeline_lib.run import run as stages
from pipeline_lib.run.log import logged, logs_of
from pipeline_lib.run.progress import Lines, Progress
from pipeline_lib.run.stopping import NOTHING, stoppable
from pipeline_lib.search.engine import Engine
from pipeline_lib.selection import leaderboard as compare
from pipeline_lib.tracking.record import Record
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from torch import nn

    from pipeline_lib.evaluation.final_test import TestResult


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a run leaves behind."""

    run_id: str  # of the pipeline's run in MLflow
    findings: finish.Findings
    directory: Path  # report, model card, leaderboard, diagrams, test figures
    dataset: Dataset

    def __repr__(self) -> str:
        accuracy = self.winner.val_accuracy or 0.0
        return (
            f"<Outcome of {self.directory.name}: {self.winner.title}, {accuracy:.2%} validation "
            f"accuracy, {len(self.trials)} trials, {self.model}>"
        )

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

    @property
    def leaderboard(self) -> pd.DataFrame:
        """Trials that ended, best first: a row each, and a column for each hyperparameter."""
        return compare.leaderboard(self.trials)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `predict_proba`'s columns."""
        return self.dataset.classes

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Labels (N,) of images (N, C, H, W), or (N, H, W) where C is 1, as the data set has them.

        Raises:
            ImageError: The images are of another type or shape.
        """
        labels: npt.NDArray[np.int64] = self.predict_proba(images).argmax(1)
        return labels

    def predict_proba(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities (N, classes) of images as `predict` takes them.

        Raises:
            ImageError: The images are of another type or shape.
        """
        import torch

        from pipeline_lib.training.loop import predict

        logits = predict(self._network, torch.from_numpy(self._as_batch(images)))
        probabilities = (logits / self.findings.contest.temperature).softmax(1)
        return np.asarray(probabilities.numpy(), np.float32)

    @cached_property
    def _network(self) -> nn.Module:
        from pipeline_lib.models.saved import load_model

        assert self.winner.model is not None
        return load_model(self.winner.model)

    def _as_batch(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The images as (N, C, H, W), in memory of their own: torch warns of a read-only view."""
        given, shape = np.asarray(images), self.dataset.shape
        batch = given[:, None] if given.ndim == 3 and shape[0] == 1 else given
        if given.dtype != np.uint8 or batch.shape[1:] != shape:
            problem = f"must be uint8 of the shape (N, {', '.join(map(str, shape))})"
            raise ImageError("images", problem, value=f"{given.dtype} {given.shape}")
        return np.array(batch)


def find_model(config: RunConfig, home: Home | None = None) -> Outcome:
    """Search, compare, decide, test, register and report, as the flow `automl` does.

    Guard the call with `if __name__ == "__main__":`, since trials run in processes of their own.
    Its progress is logged, on stderr where logging was not configured; to have it quiet:
    `logging.getLogger("automl").setLevel("WARNING")`. Nobody is told of its end: `notify` is the
    flow's.

    Raises:
        UserError: The data cannot be had, the home not be written, or the study is another's.
        Stopped: A signal ended it before a trial left a model.
        AutomlError: No trial left a model.
    """
    from pipeline_lib.report.files import keep
    from pipeline_lib.report.making import make_report

    run = stages.Run.begin(config, home or Home.from_environment())
    with logged(run.home, run.name), stoppable() as stop, Record(run) as record:
        data = stages.load_data(run)
        engines = stages.prepare_engines(run)
        stages.begin(run, data, record)
        visible = data.search_data(config.split_seed, config.validation_share)
        found = _search(run, engines, visible, record, stop)
        findings = _finish(run, found, data, record)
        kept = keep(run, findings, visible)
        made = make_report(run.home, run.name)
        for path in (kept, *made, *logs_of(run.home, run.name)):
            record.recorder.log_artifact(path)
        return Outcome(record.recorder.run_id, findings, run.directory, data.dataset)


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
                _listener(Progress(engine.name, run.config.budget_seconds), record),
            )
            for engine in engines
        ]
    found = [trial for search in searches for trial in search.result()]
    if stop.is_set():
        record.killed()
        if compare.best(found) is None:
            raise Stopped(run.name, NOTHING)
    return found


def _listener(progress: Progress, record: Record) -> Callable[[Trial], None]:
    """Records every snapshot of a trial, and logs how the search stands."""
    lines = Lines(progress)

    def see(trial: Trial) -> None:
        improved = progress.see(trial)
        record.trial(trial)
        (lines.say if improved else lines.say_if_due)()

    return see


def _finish(
    run: stages.Run, found: list[Trial], data: PreparedData, record: Record
) -> finish.Findings:
    """From the trials to the registered winner."""
    visible = data.search_data(run.config.split_seed, run.config.validation_share)
    candidates = finish.build_ensemble(run, found, visible, record)
    winner = finish.rank(run, candidates.trials, record)
    contest = finish.hold_contest(run, candidates, winner, visible, record)
    choice = finish.decide(run, winner, contest)
    test = finish.test_winner(run, choice, data, record)
    registration = finish.register(run, choice, data, test, record)
    return finish.Findings(candidates.trials, choice, test, registration)
