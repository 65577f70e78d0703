"""A run as MLflow knows it, and what of it can be had again bit for bit."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.options import plain_name
from pipeline_lib.search.engine import Engine, find_engine
from pipeline_lib.tracking import environment_tags, open_store
from pipeline_lib.tracking.recorder import CONFIGURATION, runs_of_study
from pipeline_lib.tracking.store import Store
from pipeline_lib.tracking.trials import Key, key_of, state_of
from pipeline_lib.trial import Configuration, TrialState

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun


@dataclass(frozen=True)
class Recorded:
    """What MLflow knows of a run."""

    config: RunConfig
    digest: str  # of the data
    split_digest: str
    tags: Mapping[str, str]
    trials: Mapping[Key, MlflowRun]
    climbed: Mapping[str, list[tuple[int, float]]]  # by run id: samples and accuracy of each rung
    store: Store

    def of(self, engine: str, stage: str = "") -> dict[Key, MlflowRun]:
        """The trials of one engine, or of one stage of it, by number."""
        keys = [key for key in self.trials if key[0] == engine and stage in ("", key[2])]
        return {key: self.trials[key] for key in sorted(keys, key=lambda key: int(key[1]))}

    def rungs(self, run: MlflowRun) -> list[tuple[int, float]]:
        """Samples and validation accuracy of each rung of a trial, in order."""
        return self.climbed[run.info.run_id]

    def differences(self) -> list[str]:
        """Versions and machine, where they are others here."""
        now = environment_tags(self.config.seed)
        then = {name: text for name, text in self.tags.items() if name in now}
        return [
            f"{name} {text}, now {now[name]}" for name, text in then.items() if now[name] != text
        ]

    def why_not_exact(self, device: str, train_size: int) -> list[str]:
        """Why a second search cannot give the same bits; empty where it can.

        Args:
            device: What trainings run on here.
            train_size: Training images, from which a run's rungs follow.
        """
        config, engines = self.config, [find_engine(name) for name in self.config.engines]
        why = [f"{each.title}'s search follows the clock" for each in engines if not each.repeats]
        if config.trials is None:
            why.append("the clock ended the search, not a number of trials")
        else:
            why += [w for each in engines if each.repeats if (w := self._cut(each, train_size))]
        if config.workers != 1:
            why.append(f"with {config.workers} workers the clock decides what a trial knows")
        if any(tag.startswith("resumed.") for tag in self.tags):
            why.append("the run was continued with other settings")
        if config.warm_start:
            why.append("it began with what earlier runs had found")
        devices = {
            run.data.tags.get("note.device", "unknown")
            for each in engines
            if each.retrains
            for run in self.of(each.name).values()
        }
        why += [f"it trained on {name}" for name in sorted(devices) if not name.startswith("cpu")]
        why += [
            f"trained on {name}, here on {device}" for name in sorted(devices) if name != device
        ]
        return [*why, *self.differences()]

    def _cut(self, engine: type[Engine], train_size: int) -> str:
        """What the clock cut short of a counted search; empty where that is nothing."""
        searched, finals = self.of(engine.name, "search"), self.of(engine.name, "final")
        if len(searched) != self.config.trials:
            return f"it has {len(searched)} of the {self.config.trials} trials asked for"
        lengths = [samples for run in finals.values() for samples, _ in self.rungs(run)[-1:]]
        can_have = any(self.rungs(run) for run in searched.values())
        due = engine.counted_finals(self.config, train_size) if can_have else ()
        by_time = any(_is_by_time(run.data.tags) for run in searched.values())
        has_final = len(lengths) == min(len(due), 1) and set(lengths) <= set(due)
        return "" if has_final and not by_time else "the clock cut trainings short"


def _is_by_time(tags: Mapping[str, str]) -> bool:
    """Whether time or a kill ended a trial, not what it was worth."""
    from pipeline_lib.search.records import INTERRUPTED

    reason = tags.get("reason", "")
    return (
        state_of(tags) is TrialState.STOPPED
        or reason == INTERRUPTED
        or reason.endswith("(trial_seconds)")
    )


def recorded(home: Home, name: str) -> Recorded:
    """A run by its name, from MLflow alone.

    Raises:
        ConfigurationError: MLflow has no such run, or not all of it.
        UserError: MLflow cannot be opened.
    """
    store = open_store(home)
    runs = runs_of_study(store, plain_name(name))
    by_role = {run.data.tags.get("automl.role"): run for run in runs}
    pipeline = by_role.get("pipeline")
    if pipeline is None:
        remedy = "--home, AUTOML_HOME or MLFLOW_TRACKING_URI say where to look"
        raise ConfigurationError("run", "is not in MLflow", value=name, remedy=remedy)
    try:
        config = RunConfig.of_record(json.loads(pipeline.data.tags[CONFIGURATION]))
        inputs = pipeline.inputs.dataset_inputs if pipeline.inputs else []
        data = json.loads(inputs[0].dataset.profile or "{}")
        digests = data["digest"], data["split_digest"]
    except (KeyError, IndexError, ValueError) as error:
        problem = f"is not recorded whole in MLflow ({type(error).__name__}: {error})"
        raise ConfigurationError("run", problem, value=name) from error
    trials = {
        key_of(run.data.tags): run for run in runs if run.data.tags.get("automl.role") == "trial"
    }
    climbed = {run.info.run_id: _climbed(store, run) for run in trials.values()}
    return Recorded(config, *digests, pipeline.data.tags, trials, climbed, store)


def _climbed(store: Store, run: MlflowRun) -> list[tuple[int, float]]:
    if "val_accuracy" not in run.data.metrics:
        return []
    history = store.client.get_metric_history(run.info.run_id, "val_accuracy")
    return sorted({(point.step, point.value) for point in history})


def configuration_of(run: MlflowRun) -> Configuration:
    """The hyperparameters of a trial, which MLflow keeps as text."""
    return {name: _value(text) for name, text in run.data.params.items()}


def _value(text: str) -> int | float | str | bool | None:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, int | float | None) else text
