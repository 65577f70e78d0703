"""A recorded run, searched again from what MLflow knows of it, and held against it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.config import RunConfig
from pipeline_lib.data.prepared import prepare
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.options import plain_name
from pipeline_lib.run import Run, check_data, claim_name, prepare_engines
from pipeline_lib.selection.ensemble import add_ensemble
from pipeline_lib.tracking import environment_tags, open_store
from pipeline_lib.tracking.recorder import CONFIGURATION, runs_of_study
from pipeline_lib.tracking.store import Store
from pipeline_lib.tracking.trials import Key, key_of, state_of
from pipeline_lib.trial import ENSEMBLE, Trial

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

_PATIENCE = 10  # times the budget: a slower machine must not change what a count of trials bounds
_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Fact:
    """One thing that was compared."""

    what: str
    matches: bool
    found: str


@dataclass(frozen=True)
class Recorded:
    """What MLflow knows of a run."""

    config: RunConfig
    digest: str  # of the data
    split_digest: str
    tags: Mapping[str, str]
    trials: Mapping[Key, MlflowRun]
    store: Store

    @property
    def is_exact(self) -> bool:
        """Whether a second run must give the same bits: nothing in it depends on the clock."""
        resumed = any(tag.startswith("resumed.") for tag in self.tags)
        by_count = self.config.trials is not None and self.config.workers == 1
        return by_count and self.config.engine == "optuna" and not resumed


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
    return Recorded(config, *digests, pipeline.data.tags, trials, store)


def reproduce(
    home: Home, name: str, progress: Callable[[str], None]
) -> tuple[Recorded, list[Fact]]:
    """Search as a recorded run did, and compare. The test set stays closed; MLflow is only read.

    Raises:
        ConfigurationError: MLflow has no such run.
        DataError: Its data cannot be had.
    """
    before = recorded(home, name)
    config = before.config
    check_data(config)
    home.ensure_writable()
    run = Run(config, claim_name(home, f"{name[:60]}-again"), home)
    directory = Path(config.data_root) if config.data_root else None
    data = prepare(config.dataset, home, directory, progress)
    visible = data.search_data(config.split_seed, config.validation_share)
    facts = [
        *_environment(before),
        Fact("data", data.digest == before.digest, data.digest[:12]),
        Fact("split", visible.load().digest == before.split_digest, before.split_digest[:12]),
    ]
    with run.alone():
        found = []
        for engine in prepare_engines(run):
            deadline = time.monotonic() + _PATIENCE * config.budget_seconds
            request = run.request(visible, engine.name, len(config.engines), deadline)
            progress(f"searching with {engine.name} again, as {run.name}")
            engine.search(request, lambda _trial: None, threading.Event())
            trials = engine.trials(request)
            facts += _trials(before, engine.name, trials)
            found += trials
        if any(engine == ENSEMBLE for engine, _, _ in before.trials):
            built = add_ensemble(run, found, visible).trials[len(found) :]
            facts += _trials(before, ENSEMBLE, built)
    return before, facts


def _environment(before: Recorded) -> list[Fact]:
    """Versions and machine: what may explain a difference."""
    now = environment_tags(before.config.seed)
    then = {name: text for name, text in before.tags.items() if name in now}
    other = [f"{name} {text}, now {now[name]}" for name, text in then.items() if now[name] != text]
    return [Fact("versions, machine", not other, "; ".join(other) or f"{len(then)} tags")]


def _trials(before: Recorded, engine: str, trials: list[Trial]) -> list[Fact]:
    ours = {(engine, str(trial.number), trial.stage): trial for trial in trials}
    theirs = {key: run for key, run in before.trials.items() if key[0] == engine}
    pairs = [(theirs[key], trial) for key, trial in ours.items() if key in theirs]

    def count(what: str, same: Callable[[MlflowRun, Trial], bool]) -> Fact:
        matching = sum(same(run, trial) for run, trial in pairs)
        total = len(theirs.keys() | ours.keys())
        return Fact(f"{engine} {what}", matching == total, f"{matching} of {total} trials")

    return [
        count("configurations", _same_configuration),
        count("outcomes", lambda run, trial: state_of(run.data.tags) == trial.state),
        count("accuracies", lambda run, trial: _accuracies(before, run) == _of_rungs(trial)),
        count("weights", lambda run, trial: _digest_of(before, run) == _digest(trial.model)),
    ]


def _same_configuration(run: MlflowRun, trial: Trial) -> bool:
    return dict(run.data.params) == {name: str(v) for name, v in trial.configuration.items()}


def _of_rungs(trial: Trial) -> list[tuple[int, float]]:
    return [(rung.samples, rung.val_accuracy) for rung in trial.rungs]


def _accuracies(before: Recorded, run: MlflowRun) -> list[tuple[int, float]]:
    history = before.store.client.get_metric_history(run.info.run_id, "val_accuracy")
    return sorted((point.step, point.value) for point in history)


def _digest(directory: Path | None) -> str:
    path = directory / _WEIGHTS if directory else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else ""


def _digest_of(before: Recorded, run: MlflowRun) -> str:
    files = before.store.client.list_artifacts(run.info.run_id, "model")
    if not any(file.path == f"model/{_WEIGHTS}" for file in files):
        return ""  # the trial failed before its first rung, or `automl gc` removed them
    with tempfile.TemporaryDirectory() as aside:
        fetched = before.store.client.download_artifacts(
            run.info.run_id, f"model/{_WEIGHTS}", aside
        )
        return _digest(Path(fetched).parent)
