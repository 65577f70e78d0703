"""Training alone: given configurations in worker processes, without a study around them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import optuna

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import expected
from pipeline_lib.data.splits import Split
from pipeline_lib.families.family import Family
from pipeline_lib.search.engine import trial_seed
from pipeline_lib.training.workers import TrialJob, TrialWorker, warm_up
from pipeline_lib.trial import Configuration, Rung


@dataclass(frozen=True)
class Climb:
    """A configuration and the fidelities it is trained at, one after the other."""

    configuration: Configuration
    samples: tuple[int, ...]
    seed: int = 0
    family: str = "convnet"
    seconds: float | None = None  # in which each training must end, where the clock leads


@dataclass(frozen=True)
class Replayed:
    """What it took."""

    seconds: float
    rungs: tuple[Rung, ...]


def replay(split: Split, climbs: Sequence[Climb], workers: int) -> Replayed:
    """Train them in this order, so many at a time, in processes that are started warm.

    Raises:
        TrialFailure: One of them failed.
    """
    warm_up()
    rungs: list[Rung] = []
    waiting = list(enumerate(climbs))
    running: dict[TrialWorker, list[int]] = {}  # and the fidelities to come
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    number, climb = waiting.pop(0)
                    directory = Path(root) / str(number)
                    family, asked = Family(climb.family), climb.configuration
                    job = TrialJob(family, asked, split, climb.seed, directory)
                    worker = TrialWorker(job)
                    running[worker] = list(climb.samples)
                    worker.request(running[worker].pop(0), climb.seconds)
                rungs += _hear(running)
        finally:
            for worker in running:
                worker.close()
    return Replayed(time.perf_counter() - began, tuple(rungs))


def _hear(running: dict[TrialWorker, list[int]]) -> list[Rung]:
    """Wait for rungs; ask for the next ones, and end workers that are done."""
    by_connection = {worker.connection: worker for worker in running}
    heard = []
    for connection in wait(list(by_connection)):
        worker = by_connection[connection]
        heard.append(worker.receive())
        if running[worker]:
            worker.request(running[worker].pop(0))
        else:
            worker.close()
            del running[worker]
    return heard


def random_configurations(count: int, seed: int, budget_seconds: float = 60.0) -> list[Climb]:
    """Drawn from the default space, without fidelities yet."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    family, problem = Family("convnet"), expected(RunConfig(dataset="mnist"))
    return [
        Climb(family.space(study.ask(), problem, budget_seconds), (), trial_seed(seed, number))
        for number in range(count)
    ]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Lowest, middle and highest."""
    low, middle, high = np.quantile(values, (0.0, 0.5, 1.0)).tolist()
    return {"min": low, "median": middle, "max": high}
