"""Part 5: what tracking, Prefect and storage add to bare training of the same configurations.

The study goes on in parts, and the bare training of each follows it at once, since a machine
drifts. It may by more than what is measured here, even so. What does not drift along is the share
of the workers' time that went into trainings, which is smaller in the study, and the processor
time of everything but workers, which slows trainings down: together they bound the overhead.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.long_study import long_study
from benchmarks.replay import Climb, Replayed, replay
from benchmarks.results import Bench, Result, Table
from pipeline_lib.cores import available_cores
from pipeline_lib.families.convnet import FIRST_RUNG
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import design
from pipeline_lib.models.saved import build_model, save_model
from pipeline_lib.search.engine import trial_seed
from pipeline_lib.tracking import Recorder
from pipeline_lib.trial import Rung, Trial


@dataclass(frozen=True)
class Size:
    """Trials of the study, its parts, its lowest rung, and the seconds of a run it is like."""

    trials: int
    parts: int
    base_samples: int = FIRST_RUNG
    budget: float = 60.0


FULL = Size(trials=200, parts=2)
SHORT = Size(trials=12, parts=1)


def measure(bench: Bench, size: Size) -> Result:
    """The whole flow, and in turns the rungs it recorded once more with worker processes alone."""
    workers = available_cores()
    trials: list[Trial] = []
    rungs: list[Rung] = []
    peaks, seconds, beside, bare = [], [], [], []
    with long_study(bench.home, workers, size.budget, size.base_samples) as conduct:
        for _ in range(size.parts):
            part = conduct(size.trials // size.parts)
            seconds.append(part.seconds)
            beside.append(part.seconds_beside)
            again = _replay(bench, part.trials, workers)
            bare.append(again.seconds)
            rungs += again.rungs
            trials += part.trials
            peaks.append(part.peak_mib)
    training = {
        "study": _share([r for t in trials for r in t.rungs], sum(seconds) * workers),
        "bare": _share(rungs, sum(bare) * workers),
    }
    share_beside = sum(beside) / (sum(seconds) * workers)
    return {
        "workers": workers,
        "trials": len(trials),
        "study_seconds": sum(seconds),
        "bare_seconds": sum(bare),
        "overhead": sum(seconds) / sum(bare) - 1,
        "overhead_of_parts": [a / b - 1 for a, b in zip(seconds, bare, strict=True)],
        "share_in_training": training,
        "share_of_processor_beside": share_beside,
        "overhead_at_most": (training["bare"] + share_beside) / training["study"] - 1,
        "record_milliseconds": 1000 * _record_seconds(bench, trials),
        "peak_mib": max(peaks),
    }


def _replay(bench: Bench, trials: list[Trial], workers: int) -> Replayed:
    """Their trainings without anything around them."""
    seconds: float = 0.0
    rungs: tuple[Rung, ...] = ()
    for stage in ("search", "final"):  # finals wait for the last of the search
        ordered = sorted((t for t in trials if t.stage == stage), key=lambda t: t.started)
        again = replay(bench.split, [_climb(t) for t in ordered if t.rungs], workers)
        seconds, rungs = seconds + again.seconds, rungs + again.rungs
    return Replayed(seconds, rungs)


def _share(rungs: list[Rung], of_seconds: float) -> float:
    return sum(rung.seconds for rung in rungs) / of_seconds


def _record_seconds(bench: Bench, trials: list[Trial]) -> float:
    """What it takes to record one of them in MLflow when nothing else runs; the middle of all."""
    with tempfile.TemporaryDirectory() as root:
        model = Path(root) / "model"
        problem = bench.split.problem
        shape, classes = problem.inputs.shape, len(problem.target)
        architecture = design(trials[0].configuration, shape, classes)
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
    training = result["share_in_training"]
    row = {
        "trials": result["trials"],
        "study s": f"{result['study_seconds']:.1f}",
        "bare training s": f"{result['bare_seconds']:.1f}",
        "overhead": f"{result['overhead']:+.1%}",
        "of its parts": " ".join(f"{part:+.1%}" for part in result["overhead_of_parts"]),
        "workers train": f"{training['study']:.1%}, bare {training['bare']:.1%}",
        "processor beside": f"{result['share_of_processor_beside']:.1%}",
        "so at most": f"{result['overhead_at_most']:+.1%}",
        "ms a record": f"{result['record_milliseconds']:.1f}",
        "parent's peak MiB": f"{result['peak_mib']:.0f}",
    }
    return list(row), [list(row.values())]
