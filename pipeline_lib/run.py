"""One run from data to registered model, stage by stage, without Prefect."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib import compare
from pipeline_lib.config import RunConfig
from pipeline_lib.data.prepared import PreparedData, SearchData, prepare
from pipeline_lib.engines import make_engine
from pipeline_lib.engines.base import Engine, SearchRequest
from pipeline_lib.errors import AutomlError, EngineUnavailable
from pipeline_lib.home import Home
from pipeline_lib.record import Record
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.drawing import Drawing
    from pipeline_lib.evaluation import TestResult

_log = logging.getLogger("automl")


@dataclass(frozen=True)
class Run:
    """What a run was asked for, what it is called, and where it keeps its state."""

    config: RunConfig
    name: str
    home: Home

    @classmethod
    def begin(cls, config: RunConfig, home: Home, name: str | None = None) -> Run:
        """A run of this configuration in a state directory that can be written.

        Raises:
            HomeError: The state directory cannot be written.
        """
        home.ensure_writable()
        return cls(config, name or config.name or made_up_name(config.dataset), home)

    @property
    def directory(self) -> Path:
        """Where the run leaves files for people."""
        return self.home.run(self.name)

    def request(
        self, data: SearchData, engine: str, engines: int, deadline: float
    ) -> SearchRequest:
        """The study of one engine; `engines` of them share the run's split, clock and workers."""
        return SearchRequest(
            study=self.name,
            data=data,
            space=self.config.space,
            deadline=deadline,
            budget_seconds=self.config.budget_seconds,
            trials=self.config.trials,
            workers=max(1, (self.config.workers or 1) // engines),
            seed=self.config.seed,
            directory=self.home.study(self.name) / engine,
        )


def made_up_name(dataset: str) -> str:
    """A name for a run that was given none: data set and time."""
    return f"{dataset}-{time.strftime('%Y%m%d-%H%M%S')}"


def load_data(run: Run, record: Record) -> PreparedData:
    """Fetch, check and convert the run's data set, or find it ready; record which data it is.

    Raises:
        DataError: It cannot be had, or a file of it is not what it should be.
    """
    directory = Path(run.config.data) if run.config.data else None
    prepared = prepare(run.config.dataset, run.home, directory, _log.info)
    split = prepared.search_data(run.config.seed, run.config.validation_share).load()
    sizes = {"training": len(split.train), "validation": len(split.validation)}
    record.data(prepared.dataset.name, prepared.digest, split.digest, sizes)
    return prepared


def prepare_engines(run: Run) -> list[Engine]:
    """The run's engines, able to search; one that cannot run here is left out, loudly.

    Raises:
        EngineUnavailable: None of them can.
    """
    ready: list[Engine] = []
    for name in run.config.engines:
        engine = make_engine(name, run.config, run.home)
        try:
            engine.prepare(_log.info)
        except EngineUnavailable as error:
            if len(run.config.engines) == 1:
                raise
            _log.warning("%s: the run goes on without it", error)
        else:
            ready.append(engine)
    return ready


def search(
    engine: Engine,
    request: SearchRequest,
    stop: threading.Event,
    see: Callable[[Trial], None],
) -> list[Trial]:
    """Search with one engine; `see` gets every snapshot. Returns all trials of the study.

    Raises:
        ConfigurationError: The study was begun with other settings.
    """
    for trial in engine.trials(request):  # What an interrupted run may not have recorded.
        see(trial)
    engine.search(request, see, stop)
    return engine.trials(request)


def rank(run: Run, trials: list[Trial], record: Record) -> Trial:
    """Write the leaderboard and choose the winner, by validation accuracy alone.

    Raises:
        AutomlError: No trial left a model.
    """
    record.flush()
    frame = compare.leaderboard(trials)
    for path in compare.write_leaderboard(frame, run.directory):
        record.recorder.log_artifact(path)
    winner = compare.best(trials)
    if winner is None:
        reasons = sorted({trial.reason for trial in trials if trial.reason})
        said = f" ({'; '.join(reasons[:3])})" if reasons else ""
        remedy = "give it a larger budget, or look at the failed trials' reasons in MLflow"
        raise AutomlError("search", f"no trial left a model{said}", remedy=remedy)
    return winner


def draw_winner(run: Run, winner: Trial, data: SearchData, record: Record) -> Drawing:
    """Draw the winner's network as PDF, SVG and PNG, and keep its printed form."""
    from pipeline_lib.drawing import draw
    from pipeline_lib.models import load_model

    assert winner.model is not None
    network = load_model(winner.model)
    drawing = draw(network, data.shape, run.directory)
    printed = run.directory / "architecture.txt"
    printed.write_text(f"{network}\n")
    for path in (drawing.pdf, drawing.svg, drawing.png, printed):
        record.recorder.log_artifact(path)
    return drawing


def test_winner(run: Run, winner: Trial, data: PreparedData, record: Record) -> TestResult:
    """Open the test set for the winner, once, and keep what it says."""
    from pipeline_lib.evaluation import evaluate_once

    assert winner.model is not None
    called = f"{run.name}/{winner.label}"
    classes = data.dataset.classes
    result = evaluate_once(winner.model, data.sealed_test_set, classes, run.home, called)
    path = run.directory / "test.json"
    path.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    record.recorder.log_artifact(path)
    low, high = result.interval
    figures = {
        "test_accuracy": result.accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_set_reading": float(result.reading),
        "val_accuracy": winner.val_accuracy or 0.0,
    }
    record.recorder.log_metrics(figures)
    if result.reading > 1:
        warning = "This was reading %d of this test set: the figure is no longer untouched"
        _log.warning(warning, result.reading)
    return result


def register(run: Run, winner: Trial, data: PreparedData, test: TestResult, record: Record) -> str:
    """Register the winner as champion of its data set; returns its `models:/…` address."""
    from pipeline_lib.registry import model_name, register_champion

    assert winner.model is not None
    register_champion(
        run.home,
        winner.model,
        run.config.dataset,
        run_id=record.recorder.run_id,
        classes=data.dataset.classes,
        metrics={"val_accuracy": winner.val_accuracy or 0.0, "test_accuracy": test.accuracy},
    )
    return f"models:/{model_name(run.config.dataset)}@champion"


def summary(run: Run, trials: list[Trial], winner: Trial, test: TestResult) -> dict[str, Any]:
    """What a run found, as JSON values: counts by engine and the winner."""
    engines = {}
    for engine in run.config.engines:
        own = [trial for trial in trials if trial.engine == engine]
        top = compare.best(own)
        engines[engine] = {**compare.counts(own), "best_val": top.val_accuracy if top else None}
    return {
        "name": run.name,
        "dataset": run.config.dataset,
        "engines": engines,
        "winner": {
            "engine": winner.engine,
            "trial": winner.number,
            "val_accuracy": winner.val_accuracy,
            "test_accuracy": test.accuracy,
            "test_interval": list(test.interval),
            "parameters": winner.parameters,
            "configuration": dict(winner.configuration),
        },
    }
