"""Part 1: the chapter's study, the baseline of everything else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import mean
from typing import Any

import optuna
import torch

from benchmarks.chapter_loop import ChapterTraining, Images, chapter_images, first
from benchmarks.results import Bench, Result, Table
from pipeline_lib.config import RunConfig
from pipeline_lib.cores import available_cores
from pipeline_lib.data.source import expected
from pipeline_lib.families import book

_EPOCHS = 2
_TIMEOUT_SECONDS = 2000
_SEED = 0  # the chapter sets none
_TRAIN, _TEST = 60_000, 10_000


@dataclass(frozen=True)
class Size:
    """How many trials, and what part of an epoch and of the test set is worked through."""

    trials: int
    samples: int = _TRAIN
    test_images: int = _TEST


FULL = Size(trials=10)
SHORT = Size(trials=10, samples=1280, test_images=1000)


def measure(bench: Bench, size: Size) -> Result:
    """Conduct the study with all cores; what was not worked through is extrapolated."""
    torch.set_num_threads(available_cores())
    train = chapter_images(bench.home.data, train=True)
    test = first(chapter_images(bench.home.data, train=False), size.test_images)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=_SEED)
    study = optuna.create_study(
        study_name="mastering_pytorch", direction="maximize", sampler=sampler
    )
    began = time.perf_counter()
    study.optimize(
        lambda trial: _objective(trial, train, test, size), size.trials, _TIMEOUT_SECONDS
    )
    return _summary(study, time.perf_counter() - began, size)


def _objective(trial: optuna.Trial, train: Images, test: Images, size: Size) -> float:
    """As in the chapter: accuracy on the test set, which also decides on pruning."""
    configuration = book.space(trial, expected(RunConfig(dataset="mnist")), 0.0)
    training = ChapterTraining(configuration, train, test, _SEED + trial.number)
    accuracy = 0.0
    epochs: list[dict[str, float]] = []
    for epoch in range(1, _EPOCHS + 1):
        train_seconds = training.fit(size.samples)
        accuracy, test_seconds = training.accuracy()
        epochs.append({"train": train_seconds, "test": test_seconds, "accuracy": accuracy})
        trial.set_user_attr("epochs", epochs)
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def _summary(study: optuna.Study, measured: float, size: Size) -> Result:
    trials = [_row(trial, size) for trial in study.trials]
    epochs = [epoch for trial in trials for epoch in trial["epochs"]]
    seconds = [trial["seconds"] for trial in trials]
    extrapolated = size.samples < _TRAIN or size.test_images < _TEST
    cut = (
        f"{size.samples:,} of {_TRAIN:,} training and {size.test_images:,} of {_TEST:,} test images"
    )
    note = f"Seconds extrapolated from epochs of {cut}; accuracies are not the chapter's."
    return {
        "extrapolated": extrapolated,
        "note": note
        if extrapolated
        else "Selected and pruned on the test set, as the chapter does.",
        "threads": torch.get_num_threads(),
        "measured_seconds": measured,
        "train_seconds_per_epoch": mean(epoch["train"] for epoch in epochs),
        "test_seconds_per_epoch": mean(epoch["test"] for epoch in epochs),
        "seconds_per_trial": mean(seconds),
        "study_seconds": sum(seconds),
        "states": [trial["state"] for trial in trials],
        "test_selected_accuracy": study.best_value,
        "best_parameters": study.best_params,
        "trials": trials,
    }


def _row(trial: optuna.trial.FrozenTrial, size: Size) -> dict[str, Any]:
    epochs = [
        {
            "train": epoch["train"] * _TRAIN / size.samples,
            "test": epoch["test"] * _TEST / size.test_images,
            "accuracy": epoch["accuracy"],
        }
        for epoch in trial.user_attrs.get("epochs", [])
    ]
    return {
        "parameters": trial.params,
        "state": trial.state.name.lower(),
        "epochs": epochs,
        "seconds": sum(epoch["train"] + epoch["test"] for epoch in epochs),
    }


def table(result: Result) -> Table:
    """The study's seconds and what it chose."""
    states = [f"{result['states'].count(s)} {s}" for s in ("complete", "pruned", "fail")]
    accuracy = result["test_selected_accuracy"]
    return ["the chapter's study", ""], [
        ["trials", ", ".join(states)],
        ["seconds to train an epoch", f"{result['train_seconds_per_epoch']:.1f}"],
        ["seconds to test after it", f"{result['test_seconds_per_epoch']:.1f}"],
        ["seconds a trial", f"{result['seconds_per_trial']:.1f}"],
        ["seconds of the study", f"{result['study_seconds']:.0f}"],
        ["test-selected accuracy", "–" if result["extrapolated"] else f"{accuracy:.2%}"],
    ]
