"""Part 9: seconds and memory against training images, image size, and trials."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.long_study import long_study, peak_memory
from benchmarks.results import Bench, Result, Table
from pipeline_lib.cores import available_cores
from pipeline_lib.data.examples import all_inputs
from pipeline_lib.data.problem import Image
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.splits import Split
from pipeline_lib.data.store import write
from pipeline_lib.families.family import Family
from pipeline_lib.training.loop import Training, use_one_thread
from pipeline_lib.training.size import size_of
from pipeline_lib.trial import Configuration

_CONFIGURATION: Configuration = {
    "multiply_adds": 7e5, "stem": "stride", "stem_kernel": 5, "conv3": 2.0, "padding": "valid",
    "fc": 0, "dropout": 0.0, "optimizer": "adamw", "lr": 6e-3, "weight_decay": 2e-2,
    "batch_size": 64, "label_smoothing": 0.05, "augmentation": "shift",
}  # fmt: skip
_BUDGET = 20.0  # seconds of the run whose networks and two rungs the long studies have


@dataclass(frozen=True)
class Size:
    """Numbers of training images, sides of random images and how many, numbers of trials."""

    images: tuple[int, ...]
    sides: tuple[int, ...]
    random_images: int
    trials: tuple[int, ...]
    base_samples: int


FULL = Size((6000, 15_000, 30_000, 60_000, 240_000), (28, 32, 64), 20_000, (10, 100, 1000), 5000)
SHORT = Size((6000, 60_000), (28, 64), 4000, (10, 30), 1000)


def measure(bench: Bench, size: Size) -> Result:
    """A pass over so many images, over images of such a side, and studies of so many trials."""
    return {
        "images": [
            {"size": n} | _one_pass(bench.split, _copies(bench.split, n)) for n in size.images
        ],
        "sides": [
            {"size": side} | _one_pass(bench.split, _noise(size.random_images, side))
            for side in size.sides
        ],
        "trials": [_study(bench, count, size.base_samples) for count in size.trials],
    }


Arrays = Callable[[], tuple[Any, Any]]
"""Makes images (N, C, H, W) and labels (N,)."""


def _copies(split: Split, count: int) -> Arrays:
    """The first so many training images, over and over where there are fewer."""

    def make() -> tuple[Any, Any]:
        images, labels = all_inputs(split.examples), split.examples.targets
        picked = np.arange(count) % len(images)
        return images[picked], labels[picked]

    return make


def _noise(count: int, side: int) -> Arrays:
    """Random images of CIFAR's form."""

    def make() -> tuple[Any, Any]:
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
        return images, np.arange(count) % 10

    return make


def _one_pass(split: Split, make: Arrays) -> dict[str, float]:
    """Write the arrays down and train on them once, in a process of its own."""
    with tempfile.TemporaryDirectory() as root:
        images, labels = make()
        write(Path(root) / "search", "train", (images, labels))
        shape, count = Image(*images.shape[1:]), len(images)
        problem = replace(split.problem, inputs=shape, train_size=count)
        changed = replace(split, source=Catalogued(problem, Path(root)))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_train, changed).result()


def _train(split: Split) -> dict[str, float]:
    use_one_thread()
    images = all_inputs(split.examples)
    training = Training(Family("convnet"), _CONFIGURATION, split, seed=0)
    before = peak_memory()
    samples = len(split.train)
    rung = training.fit(samples)
    return {
        "samples": samples,
        "seconds": rung.seconds,
        "microseconds_per_sample": 1e6 * rung.seconds / samples,
        "memory_mib": peak_memory() - before,  # of it, what was read of the images is shared
        "images_mib": images.nbytes / 2**20,
        "multiply_adds": size_of(training.model, split.problem.inputs).multiply_adds,
    }


def _study(bench: Bench, count: int, base_samples: int) -> dict[str, float]:
    workers = available_cores()
    with long_study(bench.home, workers, _BUDGET, base_samples) as conduct:
        study = conduct(count)
    trained = sum(rung.seconds for trial in study.trials for rung in trial.rungs)
    return {
        "trials": len(study.trials),
        "seconds": study.seconds,
        "milliseconds_per_trial_not_training": 1000
        * (study.seconds * workers - trained)
        / len(study.trials),
        "peak_mib": study.peak_mib,
    }


def table(result: Result) -> Table:
    """A row for each size."""
    head = ["what grows", "seconds", "memory MiB", "per unit"]
    rows = []
    for name, kind in (("images", "images"), ("pixels a side", "sides")):
        for r in result[kind]:
            speed = f"{r['microseconds_per_sample']:.0f} µs a sample"
            unit = f"{speed}, {r['multiply_adds']:,} multiply-adds"
            size = f"{r['size']:,} {name}"
            rows.append([size, f"{r['seconds']:.1f}", f"{r['memory_mib']:.0f}", unit])
    for r in result["trials"]:
        unit = (
            f"{r['milliseconds_per_trial_not_training']:.0f} ms of a worker not training, a trial"
        )
        rows.append([f"{r['trials']} trials", f"{r['seconds']:.1f}", f"{r['peak_mib']:.0f}", unit])
    return head, rows
