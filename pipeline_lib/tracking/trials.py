"""A trial, and what every run of its study shares, in MLflow's terms."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from pipeline_lib.metrics import ACCURACY, Metric
from pipeline_lib.trial import Rung, Trial, TrialState

Key = tuple[str, str, str]
"""Engine, number and stage: what one study may hold once."""

REGRET = "regret"
"""How far a value is from perfect, where the metric is not accuracy: smaller is better."""
FAMILY = "family"
"""Tag of a trial: the family of its network, where its engine has families."""
_LONGEST_REASON = 2000  # characters; MLflow refuses tags above 8000


def val_name(metric: Metric) -> str:
    """What MLflow calls the value of a metric on validation."""
    return f"val_{metric.key}"


def values_of(metric: Metric, rung: Rung) -> dict[str, float]:
    """What a rung reached on validation, by name: its accuracy, and the value of another metric."""
    return {val_name(ACCURACY): rung.scores[ACCURACY.name], val_name(metric): rung.value}


def regret_of(metrics: Mapping[str, float]) -> float | None:
    """The regret of a recorded trial from its numbers; None where it has no value."""
    accuracy = metrics.get(val_name(ACCURACY))
    return metrics.get(REGRET, None if accuracy is None else ACCURACY.regret(accuracy))


def key_of(tags: Mapping[str, str]) -> Key:
    """The trial that the tags of a run belong to."""
    return tags["automl.engine"], tags["automl.trial"], tags["stage"]


def run_name(trial: Trial) -> str:
    """`99.43 · optuna-0041`: what the narrow column of the list of runs has room for, first."""
    value = "" if trial.value is None else trial.text.removesuffix("%")
    outcome = {
        TrialState.COMPLETE: value,
        TrialState.FAILED: "failed",
    }.get(trial.state, f"{trial.state} {value}".strip())
    stage = "" if trial.stage == "search" else f" {trial.stage}"
    return f"{outcome} · {trial.label}{stage}"


def status_of(trial: Trial) -> str:
    """MLflow's word for how it ended: a pruned or stopped trial did its work."""
    return "FAILED" if trial.state is TrialState.FAILED else "FINISHED"


def state_of(tags: Mapping[str, str]) -> TrialState:
    """How the trial of a run ended, from its tags."""
    return TrialState.recorded(tags["state"], tags.get("reason", ""))


def tags_of(trial: Trial) -> dict[str, str]:
    """Tags to find a trial by, and why it ended."""
    tags = {
        "automl.engine": trial.engine,
        "automl.trial": str(trial.number),
        "state": trial.state.value,
        "stage": trial.stage,
    }
    if trial.family:
        tags[FAMILY] = trial.family
    if trial.reason:
        tags["reason"] = trial.reason[:_LONGEST_REASON]
    tags.update({f"note.{name}": text[:_LONGEST_REASON] for name, text in trial.notes.items()})
    return tags


def metrics_of(trial: Trial) -> Iterator[tuple[str, float, int]]:
    """Name, value and step of every number; steps are training samples seen.

    `val_accuracy`, and `val_` and the metric's name where it is another, have one point a rung, so
    their last values are the trial's. The curves are those of the highest rung: each rung begins
    anew, and MLflow has one curve a name.
    """
    for rung in trial.rungs:
        for name, value in values_of(trial.metric, rung).items():
            yield name, value, rung.samples
        if trial.metric != ACCURACY:
            yield REGRET, rung.regret, rung.samples
        yield "rung_seconds", rung.seconds, rung.samples
    for epoch in trial.rungs[-1].curve if trial.rungs else ():
        yield f"curve/{val_name(trial.metric)}", epoch.value, epoch.samples
        yield "curve/train_loss", epoch.train_loss, epoch.samples
    yield "seconds", round(trial.seconds, 2), 0
    if trial.parameters is not None:
        yield "parameters", trial.parameters, 0
    if trial.multiply_adds is not None:
        yield "multiply_adds", trial.multiply_adds, 0


def span_of(trial: Trial) -> tuple[int, int]:
    """When a trial began and ended, in milliseconds since the epoch."""
    started = int(trial.started * 1000) or int(time.time() * 1000)
    return started, started + int(trial.seconds * 1000)


def source_tags(study: str) -> dict[str, str]:
    """What MLflow's own columns show, and the study every run of it is found by."""
    return {
        "automl.study": study,
        "mlflow.user": "automl",
        "mlflow.source.name": "automl",
        "mlflow.source.type": "LOCAL",
    }
