"""Part 8: what one would pick instead, on pixels: scikit-learn's boosting, AutoGluon tabular."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.chapter_loop import chapter_images
from benchmarks.results import Bench, Result, Table
from pipeline_lib.data.examples import all_inputs
from pipeline_lib.errors import AutomlError
from pipeline_lib.home import Home

AUTOGLUON = "autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3"
"""Its models of trees only: those of torch would bring several gigabytes of CUDA packages."""

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]
"""Flat pixels and labels of `train`, `validation` and `test`."""


@dataclass(frozen=True)
class Size:
    """Seconds each, iterations between two looks at the clock, training images; with AutoGluon?"""

    seconds: float
    iterations: int = 10
    images: int | None = None
    autogluon: bool = True


FULL = Size(seconds=300.0)
SHORT = Size(seconds=15.0, iterations=2)


def measure(bench: Bench, size: Size) -> Result:
    """One after the other, each on all cores for the same seconds."""
    arrays = _arrays(bench, size.images)
    peers = {"HistGradientBoosting": _boosting(arrays, size)}
    try:
        peers["AutoGluon tabular"] = _autogluon(arrays, size, bench.home)
    except AutomlError as error:
        peers["AutoGluon tabular"] = {"could_not_run": str(error)}
    return {"peers": peers}


def _arrays(bench: Bench, most: int | None) -> Arrays:
    split = bench.split
    images, labels = all_inputs(split.examples), split.examples.targets
    flat = images.reshape(len(images), -1)
    test = chapter_images(bench.home.data, train=False)
    chosen = {"train": split.train[:most], "validation": split.validation}
    arrays = {part: (flat[indices], labels[indices]) for part, indices in chosen.items()}
    pixels = np.asarray(test.data).reshape(len(test), -1)
    return {**arrays, "test": (pixels, np.asarray(test.targets))}


def _boosting(arrays: Arrays, size: Size) -> Result:
    """Boost until the seconds are spent; the test set is scored once, at the end."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=size.iterations, warm_start=True, early_stopping=False, random_state=0
    )
    curve, began = [], time.perf_counter()
    while not curve or curve[-1][0] < size.seconds:
        model.fit(*arrays["train"])
        seconds = time.perf_counter() - began
        curve.append([seconds, float(model.score(*arrays["validation"]))])
        model.max_iter += size.iterations
    return {
        "seconds": curve[-1][0],
        "val_accuracy": curve[-1][1],
        "test_accuracy": float(model.score(*arrays["test"])),
        "model": f"{model.n_iter_} iterations",
        "curve": curve,
    }


def _autogluon(arrays: Arrays, size: Size, home: Home) -> Result:
    """What `peer_autogluon.py` prints.

    Raises:
        AutomlError: It is left out, its environment cannot be built, or it failed.
    """
    if not size.autogluon:
        raise AutomlError("AutoGluon", "left out at this size")
    python = _environment(home)
    with tempfile.TemporaryDirectory(prefix="automl-bench-") as directory:
        for part, (pixels, labels) in arrays.items():
            np.save(Path(directory) / f"{part}_pixels.npy", pixels)
            np.save(Path(directory) / f"{part}_labels.npy", labels)
        script = str(Path(__file__).with_name("peer_autogluon.py"))
        # -I: the modules beside the script must not hide others of the same name.
        said = _call([python, "-I", script, directory, f"{size.seconds:g}"], "the run failed")
    result: Result = json.loads(said.splitlines()[-1])
    return result


def _environment(home: Home) -> str:
    """The interpreter of AutoGluon's own environment, which is built unless it stands."""
    root = home.root / "benchmarks" / "autogluon"
    python, standing = root / "bin" / "python", root / "standing"
    wanted = f"{AUTOGLUON}\n{sys.version}\n"
    if standing.exists() and standing.read_text(encoding="utf-8") == wanted:
        return str(python)
    print(f"AutoGluon: building its environment (about 1 GB): {AUTOGLUON}", flush=True)
    _call([sys.executable, "-m", "venv", "--clear", str(root)], "no virtual environment")
    _call([str(python), "-m", "pip", "-q", "install", AUTOGLUON], "it cannot be installed")
    standing.write_text(wanted, encoding="utf-8")
    return str(python)


def _call(command: list[str], problem: str) -> str:
    """What a command printed.

    Raises:
        AutomlError: It failed; with the last line that names an error, else the last, else its
            exit code.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        lines = said.splitlines() if done.returncode > 0 else []  # a signal comes without warning
        errors = [line.strip() for line in lines if "error" in line.lower()]
        cause = [f"exit code {done.returncode}", *lines, *errors][-1]
        raise AutomlError("AutoGluon", f"{problem} ({cause})")
    return done.stdout


def table(result: Result) -> Table:
    """One row a peer."""
    head = ["peer", "seconds", "validation", "test", "model, or why it could not run"]
    return head, [[name, *_cells(peer)] for name, peer in result["peers"].items()]


def _cells(peer: Result) -> list[str]:
    if "could_not_run" in peer:
        return ["", "", "", peer["could_not_run"]]
    accuracies = [f"{peer[key]:.2%}" for key in ("val_accuracy", "test_accuracy")]
    return [f"{peer['seconds']:.0f}", *accuracies, peer["model"]]
