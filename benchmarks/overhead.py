"""Part 5: what tracking, Prefect and storage add to bare training of the same configurations."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.long_study import run_long_study
from benchmarks.replay import Climb, replay
from benchmarks.results import Bench, Result, Table
from pipeline_lib.config import available_cores
from pipeline_lib.engines.ladder import BASE_SAMPLES
from pipeline_lib.engines.optuna_engine import trial_seed
from pipeline_lib.home import Home
from pipeline_lib.models import build_model, design, save_model
from pipeline_lib.tracking import Recorder
from pipeline_lib.trial import Trial


@dataclass(frozen=True)
class Size:
    """Trials of the study, samples at its lowest rung, and the seconds of a run it is like."""

    trials: int
    base_samples: int = BASE_SAMPLES
    budget: float = 60.0


FULL = Size(trials=200)
SHORT = Size(trials=12)


def measure(bench: Bench, size: Size) -> Result:
    """The whole flow, then the rungs it recorded once more with worker processes alone."""
    workers = available_cores()
    study = run_long_study(bench.home, size.trials, workers, size.budget, size.base_samples)
    bare = 0.0
    for stage in ("search", "final"):  # finals wait for the last of the search
        trials = sorted((t for t in study.trials if t.stage == stage), key=lambda t: t.started)
        bare += replay(bench.data, [_climb(t) for t in trials if t.rungs], workers).seconds
    count = len(study.trials)
    return {
        "workers": workers,
        "trials": count,
        "study_seconds": study.seconds,
        "bare_seconds": bare,
        "overhead": study.seconds / bare - 1,
        "seconds_per_trial_added": (study.seconds - bare) * workers / count,
        "record_milliseconds": 1000 * _record_seconds(bench, study.trials),
        "peak_mib": study.peak_mib,
    }


def _record_seconds(bench: Bench, trials: list[Trial]) -> float:
    """What it takes to record one of them in MLflow when nothing else runs; the middle of all."""
    with tempfile.TemporaryDirectory() as root:
        model = Path(root) / "model"
        architecture = design(trials[0].configuration, bench.data.shape, len(bench.data.classes))
        save_model(build_model(architecture), architecture, model)
        recorder = Recorder.open(Home(Path(root) / "home"), "mnist", trials[0].study, {})
        seconds = []
        for trial in trials:
            began = time.perf_counter()
            recorder.record(replace(trial, model=model))
            seconds.append(time.perf_counter() - began)
    return median(seconds)


def _climb(trial: Trial) -> Climb:
    seed = trial_seed(0, trial.number)
    return Climb(trial.configuration, tuple(rung.samples for rung in trial.rungs), seed)


def table(result: Result) -> Table:
    """One row."""
    head = [
        "trials",
        "study s",
        "bare training s",
        "overhead",
        "ms a trial added",
        "ms a record",
        "parent's peak MiB",
    ]
    return head, [
        [
            result["trials"],
            f"{result['study_seconds']:.1f}",
            f"{result['bare_seconds']:.1f}",
            f"{result['overhead']:+.1%}",
            f"{1000 * result['seconds_per_trial_added']:.0f}",
            f"{result['record_milliseconds']:.1f}",
            f"{result['peak_mib']:.0f}",
        ]
    ]
