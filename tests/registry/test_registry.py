import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
import torch
from small_network import small_network

from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.models.saved import build_model, save_model
from pipeline_lib.registry.champions import list_champions
from pipeline_lib.registry.promotion import promote, registered_names
from pipeline_lib.registry.versions import Candidate, load_champion, model_name, register
from pipeline_lib.tracking import Recorder, open_store

ARCHITECTURE = small_network(4)
CLASSES = ["ant", "bee", "cat", "dog"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("registry") / "a home")


@pytest.fixture(scope="module")
def recorder(home: Home) -> Recorder:
    return Recorder.open(home, "insects", "first", {})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # where MLflow would leave ./mlruns or ./mlflow.db


def a_network(directory: Path, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = build_model(ARCHITECTURE).eval()
    save_model(network, ARCHITECTURE, directory)
    return network


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 12, 12), dtype=np.uint8)


def registered(home: Home, recorder: Recorder, directory: Path, seed: int = 0) -> torch.nn.Module:
    network = a_network(directory, seed)
    metrics = {"test_accuracy": 0.9}
    version = register(
        home, Candidate(directory, "insects", CLASSES, recorder.run_id, metrics, {"split": "s"})
    )
    promote(home, "insects", version, "in a test")
    return network


def test_every_champion_is_listed_whatever_its_data_are_called(
    home: Home, recorder: Recorder, tmp_path: Path
) -> None:
    """None of the names in the catalogue is among them."""
    registered(home, recorder, tmp_path / "any")
    assert registered_names(home) == ["insects"]
    assert [reign.model for reign in list_champions(home, None)] == ["automl-insects"]
    assert registered_names(Home(tmp_path / "empty")) == []


def test_the_champion_is_the_version_promoted_last(
    home: Home, recorder: Recorder, tmp_path: Path
) -> None:
    first = registered(home, recorder, tmp_path / "one", seed=1)
    before = load_champion(home, "models:/automl-insects@champion")
    second = registered(home, recorder, tmp_path / "two", seed=2)
    after = load_champion(home, "models:/automl-insects@champion")

    def version(uri: str) -> int:
        return int(uri.rpartition("/")[2])

    assert version(after.uri) == version(before.uri) + 1
    batch = torch.from_numpy(images())
    with torch.inference_mode():
        torch.testing.assert_close(before.module(batch), first(batch))
        torch.testing.assert_close(after.module(batch), second(batch))
        again = load_champion(home, before.uri)
        torch.testing.assert_close(again.module(batch), first(batch))
    assert (after.shape, after.classes, after.dataset) == ((1, 12, 12), tuple(CLASSES), "insects")
    assert list(tmp_path.iterdir()) == [tmp_path / "one", tmp_path / "two"]


def test_it_hangs_together_in_mlflow(home: Home, recorder: Recorder, tmp_path: Path) -> None:
    registered(home, recorder, tmp_path / "model")
    client = open_store(home).client
    found = client.get_model_version_by_alias("automl-insects", "champion")
    assert found.run_id == recorder.run_id
    assert found.tags.items() >= {"test_accuracy": "0.9000", "split": "s"}.items()
    assert found.description == "test accuracy 90.00%: a network on insects"
    assert "Classifiers of insects" in client.get_registered_model("automl-insects").description
    outputs = client.get_run(recorder.run_id).outputs.model_outputs
    models = [client.get_logged_model(output.model_id) for output in outputs]
    (logged,) = [model for model in models if model.artifact_location == found.source]
    versions = json.loads(logged.tags["mlflow.modelVersions"])
    assert versions == [{"name": "automl-insects", "version": found.version}]
    assert logged.status == "READY"
    assert {metric.key: metric.value for metric in logged.metrics} == {"test_accuracy": 0.9}
    assert logged.source_run_id == recorder.run_id


def test_mlflow_serves_it_in_a_fresh_process(
    home: Home, recorder: Recorder, tmp_path: Path
) -> None:
    network = registered(home, recorder, tmp_path / "model")
    np.save(tmp_path / "images.npy", images(5))
    code = """
import sys, warnings
import mlflow.pyfunc, numpy as np
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
model = mlflow.pyfunc.load_model("models:/automl-insects@champion")
np.save("probabilities.npy", model.predict(np.load("images.npy")))
try:
    model.predict(np.zeros((1, 3, 12, 12), np.uint8))
except mlflow.MlflowException as error:
    print(error)
"""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home.mlflow_database}",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "does not match expected shape (-1, 1, 12, 12)" in done.stdout
    probabilities = np.load(tmp_path / "probabilities.npy")
    assert (probabilities.shape, probabilities.dtype) == ((5, 4), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images(5))).softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_nothing_that_is_kept_is_pickled(home: Home, recorder: Recorder, tmp_path: Path) -> None:
    registered(home, recorder, tmp_path / "model")
    kept = [path for path in home.mlflow_artifacts.rglob("*") if path.is_file()]
    assert {"serving.py", "weights.safetensors", "architecture.json", "MLmodel"} <= {
        path.name for path in kept
    }
    pickled = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".cloudpickle", ".joblib"}
    assert [path for path in kept if path.suffix in pickled] == []
    # A pickle of protocol 2 and above begins with 0x80; so does no file of ours.
    assert [path for path in kept if path.read_bytes()[:1] == b"\x80"] == []


def test_nothing_that_is_kept_names_a_place_of_this_machine(
    home: Home, recorder: Recorder, tmp_path: Path
) -> None:
    registered(home, recorder, tmp_path / "model")
    places = (home.root, tmp_path, Path(__file__).parents[2], Path.home(), tempfile.gettempdir())
    for path in (path for path in home.mlflow_artifacts.rglob("*") if path.is_file()):
        told = [place for place in map(os.fsencode, places) if place in path.read_bytes()]
        assert not told, path.name


def test_requirements_are_pinned_and_few(home: Home, recorder: Recorder, tmp_path: Path) -> None:
    registered(home, recorder, tmp_path / "model")
    (listed, *_) = home.mlflow_artifacts.rglob("requirements.txt")
    lines = listed.read_text().split()
    assert {line.partition("==")[0] for line in lines} == {
        "mlflow",
        "numpy",
        "safetensors",
        "torch",
    }
    assert all("==" in line for line in lines)


@pytest.mark.parametrize("name", ["../insects", "a/b", "", ".hidden", "a b", "a\\b", "a:b", "a@b"])
def test_a_name_that_a_path_would_misread_is_refused(home: Home, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="model name: may hold letters"):
        model_name(name)
    with pytest.raises(ModelError, match="model name"):
        register(home, Candidate(tmp_path, name, CLASSES, "none", {}))


def test_a_directory_without_a_model_is_refused_before_anything_is_written(
    home: Home, recorder: Recorder, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        register(home, Candidate(tmp_path, "empty", CLASSES, recorder.run_id, {}))
    assert not open_store(home).client.search_registered_models("name = 'automl-empty'")


@pytest.mark.parametrize("uri", ["models:/automl-nothing@champion", "models:/automl-insects/999"])
def test_a_model_that_is_not_registered_is_named(home: Home, recorder: Recorder, uri: str) -> None:
    with pytest.raises(ModelError, match="is not registered") as caught:
        load_champion(home, uri)
    assert caught.value.value == uri


@pytest.mark.parametrize("uri", ["automl-insects", "models:/automl-insects", "models:/../x@y", "x"])
def test_an_address_of_another_form_is_refused(home: Home, uri: str) -> None:
    with pytest.raises(ModelError, match="is not of the form models:/NAME@ALIAS"):
        load_champion(home, uri)


def test_asking_for_a_model_in_an_empty_home_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not registered"):
        load_champion(Home(tmp_path / "none"), "models:/automl-insects@champion")
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_files_are_gone_is_named(
    home: Home, recorder: Recorder, tmp_path: Path
) -> None:
    registered(home, recorder, tmp_path / "model")
    client = open_store(home).client
    found = client.get_model_version_by_alias("automl-insects", "champion")
    Path(url2pathname(urlsplit(found.source).path)).rename(tmp_path / "gone")
    with pytest.raises(ModelError, match="model: cannot be fetched from file:"):
        load_champion(home, "models:/automl-insects@champion")
