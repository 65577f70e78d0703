"""Registering again after a reply was lost or a step failed: one version, and its own champion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_registry
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline_lib.home import Home
from pipeline_lib.registry.promotion import history, promote_over
from pipeline_lib.registry.versions import Candidate, register
from pipeline_lib.tracking import Recorder, open_store

AWAY = MlflowException("the reply was lost")  # of the kind that is waited out: INTERNAL_ERROR
REFUSED = MlflowException.invalid_parameter_value("of the kind that ends the stage")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("again") / "home")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def candidate(home: Home, tmp_path: Path, request: pytest.FixtureRequest) -> Candidate:
    """A trial of a run of its own, on a data set of its own."""
    dataset = request.node.callspec.id
    recorder = Recorder.open(home, dataset, "first", {})
    test_registry.a_network(tmp_path / "model")
    tags = {"trial": "optuna-0003"}
    classes = test_registry.CLASSES
    return Candidate(tmp_path / "model", dataset, classes, recorder.run_id, {}, tags)


@pytest.fixture
def fail_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, MlflowException], None]:
    """Makes a call of MLflow's client fail once, after it was done."""

    def fail(method: str, error: MlflowException) -> None:
        done: list[bool] = []
        real = getattr(MlflowClient, method)

        def call(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
            result = real(self, *args, **kwargs)
            if not done:
                done.append(True)
                raise error
            return result

        monkeypatch.setattr(MlflowClient, method, call)

    return fail


def a_stage(home: Home, candidate: Candidate) -> bool:
    """What the stage does that is tried again when it fails."""
    version = register(home, candidate)
    return promote_over(home, candidate.dataset, version, None, "there was none")


@pytest.mark.parametrize(
    ("method", "error"),
    [
        pytest.param("create_model_version", AWAY, id="ants"),
        pytest.param("create_model_version", REFUSED, id="bees"),
        pytest.param("log_outputs", REFUSED, id="cats"),
        pytest.param("set_registered_model_alias", REFUSED, id="dogs"),
        pytest.param("set_model_version_tag", REFUSED, id="eels"),
        pytest.param("delete_registered_model_alias", REFUSED, id="frogs"),
    ],
)
def test_a_stage_that_is_tried_again_registers_one_version_and_crowns_it(
    home: Home,
    candidate: Candidate,
    fail_after: Callable[[str, MlflowException], None],
    method: str,
    error: MlflowException,
) -> None:
    fail_after(method, error)
    if error is AWAY:
        assert a_stage(home, candidate)
    else:
        with pytest.raises(MlflowException):
            a_stage(home, candidate)
        assert a_stage(home, candidate)
    assert a_stage(home, candidate)  # nor does a third try change anything
    client = open_store(home).client
    name = f"automl-{candidate.dataset}"
    (version,) = client.search_model_versions(f"name = '{name}'")
    assert client.get_registered_model(name).aliases == {"champion": version.version}
    assert [(event.version, event.replaced) for event in history(home, candidate.dataset)] == [
        (1, None)
    ]
    assert len(client.get_run(candidate.run_id).outputs.model_outputs) == 1


@pytest.mark.parametrize("method", [pytest.param("", id="geese")])
def test_another_trial_of_the_same_run_is_another_version(
    home: Home, candidate: Candidate, method: str
) -> None:
    first = register(home, candidate)
    other = Candidate(
        candidate.directory, candidate.dataset, candidate.classes, candidate.run_id, {},
        {"trial": "optuna-0004"},
    )  # fmt: skip
    assert register(home, other) == first + 1
    assert register(home, candidate) == first
