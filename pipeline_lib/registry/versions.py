"""The model registry: which version of which model is the champion."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.metrics import metric_of
from pipeline_lib.registry.once import TRIAL_TAG, logged, registered
from pipeline_lib.registry.served import Served
from pipeline_lib.tracking.store import Store, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from torch import nn

CHAMPION = "champion"  # the version that is used
CHALLENGER = "challenger"  # the last winner that did not become champion
TEST_TAG = "test_accuracy"
"""Tag of a model version that was measured on the test set."""
PREFIX = "automl-"
"""Begins the name of every registered model of ours."""
METRIC_TAG = "metric"
"""Tag of a model version: the name of the metric it was chosen by; older ones have none."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_URI = re.compile(r"models:/(?P<name>[A-Za-z0-9_.-]+)(@(?P<alias>[\w-]+)|/(?P<version>\d+))")
_FOLDER = "network"  # of a registered model: architecture and weights
_REQUIRED = ("mlflow", "numpy", "safetensors", "torch")


@dataclass(frozen=True)
class Classifier:
    """A registered model, ready to use in this process."""

    uri: str
    module: nn.Module  # raw images (B, C, H, W), 0…255, to logits (B, classes)
    shape: tuple[int, int, int]  # C, H, W
    classes: tuple[str, ...]
    dataset: str
    served: Served  # what calibrates its probabilities, and what it was trained on looks like
    digest: str  # of its files


@dataclass(frozen=True)
class Candidate:
    """A model that is to be registered."""

    directory: Path  # holds architecture.json and weights.safetensors
    dataset: str
    classes: Sequence[str]
    run_id: str  # the run in MLflow that it comes from
    metrics: Mapping[str, float]  # show beside it
    tags: Mapping[str, str] = field(default_factory=dict)  # say how it was chosen
    served: Served = field(default_factory=Served)


def model_name(dataset: str) -> str:
    """The registered model of a data set: `automl-mnist`.

    Raises:
        ModelError: The name has characters that a path or an address would misread.
    """
    if not _NAME.fullmatch(dataset):
        problem = "may hold letters, digits, '_', '.' and '-' only"
        raise ModelError("model name", problem, value=dataset)
    return f"{PREFIX}{dataset}"


def register(home: Home, candidate: Candidate) -> int:
    """Register a model as a new version and as challenger; returns the version.

    A run registers a trial once: a second call, after one that failed half-way or whose reply was
    lost, goes on where the first one stopped.

    Raises:
        ModelError: The files are not those of a model, or the name cannot be.
        HomeError: The store in the state directory cannot be used.
    """
    from pipeline_lib.models.saved import load_model

    name = model_name(candidate.dataset)
    load_model(candidate.directory)
    store = open_store(home)
    client, trial = store.client, (candidate.run_id, candidate.tags.get(TRIAL_TAG))
    version = registered(client, name, trial)
    if version is None:
        model = logged(client, trial) or _log_model(client, name, candidate)
        version = _new_version(store, name, model, candidate)
        versions = json.dumps([{"name": name, "version": version}])
        client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": versions})
    for key, value in candidate.metrics.items():  # it may have been measured since
        client.set_model_version_tag(name, str(version), key, _tag(value))
    if str(version) != client.get_registered_model(name).aliases.get(CHAMPION):
        client.set_registered_model_alias(name, CHALLENGER, str(version))
    return version


def _log_model(client: MlflowClient, name: str, candidate: Candidate) -> LoggedModel:
    """Store a model's files with its run, and the numbers that show beside it."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    run_id = candidate.run_id
    experiment_id = client.get_run(run_id).info.experiment_id
    of = {TRIAL_TAG: candidate.tags[TRIAL_TAG]} if TRIAL_TAG in candidate.tags else None
    model = client.create_logged_model(experiment_id, name, run_id, of, model_type="classifier")
    with tempfile.TemporaryDirectory() as aside:
        _save_pyfunc(Path(aside, "model"), candidate, model.model_id)
        client.log_model_artifacts(model.model_id, str(Path(aside, "model")))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    now = int(time.time() * 1000)
    numbers = [
        Metric(key, float(value), now, 0, model_id=model.model_id)
        for key, value in candidate.metrics.items()
    ]
    client.log_batch(run_id, metrics=numbers)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])  # last: it is whole
    return model


def load_champion(home: Home, uri: str) -> Classifier:
    """The network behind `models:/automl-mnist@champion` or `models:/automl-mnist/3`.

    Raises:
        ModelError: There is no such model, or its files cannot be read.
        HomeError: The store in the state directory cannot be used.
    """
    name, alias, number = _parse(uri)
    if not home.mlflow_database.exists() and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise _unregistered(uri)
    store = open_store(home)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        number = number or store.client.get_model_version_by_alias(name, alias).version
        location = store.client.get_model_version_download_uri(name, number)
    except MlflowException as error:
        raise _unregistered(uri) from error
    with tempfile.TemporaryDirectory() as aside:
        try:
            files = Path(download_artifacts(location, dst_path=aside, tracking_uri=store.uri))
        except (MlflowException, OSError) as error:
            problem = f"cannot be fetched from {location} ({error})"
            raise ModelError("model", problem, value=uri) from error
        return _classifier(f"models:/{name}/{number}", files)


def record_test(home: Home, dataset: str, version: int, figures: Mapping[str, float]) -> None:
    """Tag a version with what it was measured at after it was registered."""
    client = open_store(home).client
    for key, value in figures.items():
        client.set_model_version_tag(model_name(dataset), str(version), key, _tag(value))


def _classifier(uri: str, files: Path) -> Classifier:
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from yaml import YAMLError

    from pipeline_lib.models.saved import load_model, model_digest

    network = files / "artifacts" / _FOLDER
    try:
        described = Model.load(str(files)).metadata or {}
        return Classifier(
            uri=uri,
            module=load_model(network),
            shape=tuple(described["shape"]),
            classes=tuple(described["classes"]),
            dataset=described["dataset"],
            served=Served.load(network),
            digest=model_digest(network),
        )
    except (MlflowException, YAMLError, OSError, ValueError, KeyError, TypeError) as error:
        kind = type(error).__name__
        raise ModelError("model", f"has a damaged description ({kind})", value=uri) from error


def _save_pyfunc(path: Path, candidate: Candidate, model_id: str) -> None:
    """Write MLflow's model: our script, the network's files, signature, requirements."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from pipeline_lib.models.saved import ARCHITECTURE, WEIGHTS

    network = path.parent / _FOLDER
    network.mkdir()
    for name in (ARCHITECTURE, WEIGHTS):
        shutil.copyfile(candidate.directory / name, network / name)
    candidate.served.save(network)
    shape = tuple(json.loads((network / ARCHITECTURE).read_text(encoding="utf-8"))["shape"])
    images = TensorSpec(np.dtype("uint8"), (-1, *shape))
    probabilities = TensorSpec(np.dtype("float32"), (-1, len(candidate.classes)))
    script = Path(__file__).with_name("serving.py")
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(script),
        artifacts={"model": str(network)},
        input_example=np.zeros((1, *shape), np.uint8),
        signature=ModelSignature(Schema([images]), Schema([probabilities])),
        # Given, because MLflow's own inference of them takes ten seconds.
        pip_requirements=[f"{package}=={version(package)}" for package in _REQUIRED],
        metadata={
            "dataset": candidate.dataset,
            "shape": list(shape),
            "classes": list(candidate.classes),
        },
        mlflow_model=Model(model_id=model_id),
    )
    _without_paths(path, script.name)


def _without_paths(path: Path, script: str) -> None:
    """Name a model's parts by their places within it: MLflow writes whole paths of this machine."""
    from mlflow.models import Model

    description = Model.load(str(path))
    flavor = description.flavors["python_function"]
    flavor["model_code_path"] = script  # MLflow reads the last part of it alone
    for part in flavor["artifacts"].values():
        part["uri"] = part["path"]
    description.save(str(path / "MLmodel"))


def _new_version(store: Store, name: str, model: LoggedModel, candidate: Candidate) -> int:
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(
            name,
            description=f"Classifiers of {candidate.dataset}. `{CHAMPION}` is the version in use, "
            f"`{CHALLENGER}` the last winner that was not shown to be better.",
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client = store.plain_client  # patience is for both calls together: a reply may be lost
    trial = candidate.run_id, candidate.tags.get(TRIAL_TAG)

    def once() -> int:
        known = registered(client, name, trial)
        if known is not None:
            return known
        # By its place, not as models:/ID, which MLflow would look up in its global store.
        created = client.create_model_version(
            name,
            model.artifact_location,
            model.source_run_id,
            tags=dict(candidate.tags),
            description=_description(candidate),
            await_creation_for=0,  # its files are there already
            model_id=model.model_id,
        )
        return int(created.version)

    return store.patience.call(once)


def _tag(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 0.01 else f"{value:.6g}"


def _description(candidate: Candidate) -> str:
    figures = (
        f"{key.replace('_', ' ')} {metric_of(key.partition('_')[2]).text(value)}"
        for key, value in sorted(candidate.metrics.items())
    )
    which = candidate.tags.get(TRIAL_TAG, "a network")
    return f"{', '.join(figures)}: {which} on {candidate.dataset}"  # lists show its beginning


def _parse(uri: str) -> tuple[str, str, str]:
    """Name, alias and version; one of the last two is empty."""
    match = _URI.fullmatch(uri)
    if match is None:
        problem = "is not of the form models:/NAME@ALIAS or models:/NAME/VERSION"
        raise ModelError("model", problem, value=uri)
    return match["name"], match["alias"] or "", match["version"] or ""


def _unregistered(uri: str) -> ModelError:
    remedy = "`automl run` registers one; --home or AUTOML_HOME says where to look"
    return ModelError("model", "is not registered", value=uri, remedy=remedy)
