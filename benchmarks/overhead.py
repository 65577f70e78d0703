"""Part 5: what tracking, Prefect and storage add to bare training of the same configurations."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.long_study import run_long_study
from benchmarks.replay import Climb, replay
from benchmarks.results import Bench, Result, Table
from pipeline_lib.config import available_cores
from pipeline_lib.engines.ladder import BASE_SAMPLES
from pipeline_lib.engines.optuna_engine import trial_seed
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
        "peak_mib": study.peak_mib,
    }


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
        "parent's peak MiB",
    ]
    return head, [
        [
            result["trials"],
            f"{result['study_seconds']:.1f}",
            f"{result['bare_seconds']:.1f}",
            f"{result['overhead']:+.1%}",
            f"{1000 * result['seconds_per_trial_added']:.0f}",
            f"{result['peak_mib']:.0f}",
        ]
    ]
