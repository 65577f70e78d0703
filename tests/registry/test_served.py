"""Probabilities that leave the house: calibrated, and the same through every door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow.pyfunc
import numpy as np
import pytest
import torch
from PIL import Image
from small_network import small_network

from flows import cli
from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import Normalise
from pipeline_lib.models.ensemble import KIND
from pipeline_lib.models.saved import build_model, load_model, save_model
from pipeline_lib.registry.served import Served
from pipeline_lib.registry.versions import Candidate, load_champion, register
from pipeline_lib.selection.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from pipeline_lib.serving.prediction import classify
from pipeline_lib.tracking import Recorder, open_store
from pipeline_lib.training.loop import predict

CLASSES = ["ant", "bee", "cat", "dog"]
ONE = small_network(4, dropout=0.0)
SEVERAL = {
    "kind": KIND,
    "shape": ONE["shape"],
    "classes": 4,
    "members": [
        {"trial": "a", "weight": 0.6, "temperature": 0.7, "architecture": ONE},
        {"trial": "b", "weight": 0.4, "temperature": 1.2, "architecture": ONE},
    ],
}
OVERCONFIDENCE = 3.0


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # where MLflow would leave ./mlruns or ./mlflow.db


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("served") / "home")


@pytest.fixture(scope="module")
def recorder(home: Home) -> Recorder:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Recorder.open(home, "insects", "first", {})


def images(count: int, seed: int) -> np.ndarray:
    """Dark images (N, 1, 12, 12) of rough blocks, so that light ones are unlike them."""
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 120, (count, 1, 3, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=2).repeat(4, axis=3)


def logits_of(directory: Path, pixels: np.ndarray) -> np.ndarray:
    return predict(load_model(directory), [torch.from_numpy(pixels)]).numpy()


def drawn_labels(logits: np.ndarray, seed: int) -> np.ndarray:
    """Classes (N,) as likely as a network that is this much too sure should have said."""
    probabilities = torch.from_numpy(logits / OVERCONFIDENCE).softmax(1)
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0].numpy()


def error(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    return expected_calibration_error(reliability(logits, labels, temperature))


Registered = Callable[[Path, Served], tuple[str, Path]]


@pytest.fixture
def registered(home: Home, recorder: Recorder) -> Registered:
    def register_it(directory: Path, served: Served) -> tuple[str, Path]:
        """The model's address, and where MLflow has its files."""
        candidate = Candidate(directory, "insects", CLASSES, recorder.run_id, {}, {}, served)
        version = register(home, candidate)
        source = open_store(home).client.get_model_version("automl-insects", str(version)).source
        return f"models:/automl-insects/{version}", Path(url2pathname(urlsplit(source).path))

    return register_it


def network(architecture: dict[str, object], directory: Path) -> Path:
    """A network with chance weights whose last layers are made far too sure of themselves."""
    torch.manual_seed(1)
    model = build_model(architecture)
    for module in model.modules():
        if isinstance(module, Normalise):
            module.set_from(torch.from_numpy(images(500, 9)))
        if isinstance(module, torch.nn.Linear) and module.out_features == len(CLASSES):
            module.weight.data *= 40
    save_model(model, architecture, directory)
    return directory


def pictures(directory: Path, pixels: np.ndarray) -> list[Path]:
    paths = [directory / f"{number}.png" for number in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image[0]).save(path)
    return paths


@pytest.mark.parametrize("architecture", [ONE, SEVERAL], ids=["a network", "an ensemble"])
def test_what_is_served_is_calibrated_by_every_door(
    architecture: dict[str, object], home: Home, registered: Registered, tmp_path: Path
) -> None:
    directory = network(architecture, tmp_path / "model")
    validation, new = images(3000, seed=2), images(3000, seed=3)
    logits = logits_of(directory, new)
    known = logits_of(directory, validation)
    temperature = fit_temperature(known, drawn_labels(known, 4))
    labels = drawn_labels(logits, 5)
    calibrated = error(logits, labels, temperature)
    assert calibrated < 0.5 * error(logits, labels)

    address, files = registered(directory, Served(temperature))
    served = mlflow.pyfunc.load_model(str(files)).predict(new)
    assert error(np.log(served), labels) == pytest.approx(calibrated, abs=1e-4)
    assert np.array_equal(served.argmax(1), logits.argmax(1))
    assert len(set(served.argmax(1))) == len(CLASSES)

    answers = classify(home, address, pictures(tmp_path, new[:50]))
    assert [answer.label for answer in answers] == [CLASSES[i] for i in served[:50].argmax(1)]
    said = [answer.probability for answer in answers]
    assert said == pytest.approx(served[:50].max(1).tolist(), abs=1e-6)


def test_a_model_that_was_registered_before_answers_as_it_did(
    home: Home, registered: Registered, tmp_path: Path
) -> None:
    directory = network(ONE, tmp_path / "model")
    address, files = registered(directory, Served(2.0, (0.1, 0.2)))
    (kept,) = files.rglob("served.json")
    whole = kept.read_text()
    kept.unlink()
    assert load_champion(home, address).served == Served()
    plain = torch.from_numpy(logits_of(directory, images(5, 6))).softmax(1).numpy()
    again = mlflow.pyfunc.load_model(str(files)).predict(images(5, 6))
    np.testing.assert_allclose(again, plain, atol=1e-5)
    (answer,) = classify(home, address, pictures(tmp_path, 255 - images(1, 6)))
    assert answer.remarks == ()  # nobody knows what it was trained on

    for damaged in ("", "[]", whole.replace("2.0", "0"), whole.replace("2.0", "NaN"), "{}"):
        kept.write_text(damaged)
        with pytest.raises(ModelError, match="cannot be read"):
            load_champion(home, address)
    kept.write_text(whole)
    assert load_champion(home, address).served == Served(2.0, (0.1, 0.2))


def test_predict_says_on_stderr_what_is_odd_about_a_picture(
    home: Home, registered: Registered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = images(1, 6)
    typical = (own.mean() / 255 - 0.2, own.mean() / 255 + 0.2)
    address, _ = registered(network(ONE, tmp_path / "model"), Served(1.0, typical))
    usual, inverted, wide = pictures(tmp_path, np.concatenate([own, 255 - own, own]))
    Image.fromarray(np.tile(own[0, 0], (1, 3))).save(wide)

    def remarks(path: Path) -> tuple[str, ...]:
        (answer,) = classify(home, address, [path])
        return answer.remarks

    assert [len(remarks(path)) for path in (usual, inverted, wide)] == [0, 1, 1]
    cli.app(
        ["predict", address, *map(str, (usual, inverted)), "--home", str(home.root)],
        standalone_mode=False,
    )
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == [str(usual), str(inverted)]
    (line,) = said.err.splitlines()
    assert line.startswith(f"{inverted} ")
