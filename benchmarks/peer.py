"""Part 8: what one would pick instead: scikit-learn's gradient boosting on pixels."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from benchmarks.chapter_loop import chapter_images
from benchmarks.results import Bench, Result, Table


@dataclass(frozen=True)
class Size:
    """Seconds to boost for, iterations between two looks at the clock, training images."""

    seconds: float
    iterations: int = 10
    images: int | None = None


FULL = Size(seconds=300.0)
SHORT = Size(seconds=15.0, iterations=2)


def measure(bench: Bench, size: Size) -> Result:
    """Boost on all cores until the seconds are spent; the test set is read once, at the end."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    split = bench.data.load()
    train = split.train[: size.images]
    flat = split.images.reshape(len(split.images), -1)
    model = HistGradientBoostingClassifier(
        max_iter=size.iterations, warm_start=True, early_stopping=False, random_state=0
    )
    curve, began = [], time.perf_counter()
    while not curve or curve[-1][0] < size.seconds:
        model.fit(flat[train], split.labels[train])
        seconds = time.perf_counter() - began
        accuracy = float(model.score(flat[split.validation], split.labels[split.validation]))
        curve.append([seconds, accuracy])
        model.max_iter += size.iterations
    test = chapter_images(bench.home.data, train=False)
    pixels = np.asarray(test.data).reshape(len(test), -1)
    tested = float(model.score(pixels, np.asarray(test.targets)))
    return {
        "curve": curve,
        "iterations": model.n_iter_,
        "seconds": curve[-1][0],
        "test_accuracy": tested,
    }


def table(result: Result) -> Table:
    """One row."""
    head = ["peer", "seconds", "iterations", "validation", "test"]
    validation = result["curve"][-1][1]
    name = "HistGradientBoostingClassifier"
    row = [name, f"{result['seconds']:.0f}", result["iterations"], f"{validation:.2%}"]
    return head, [[*row, f"{result['test_accuracy']:.2%}"]]
