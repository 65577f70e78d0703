"""A user's own pictures from the call to a registered model, and again when they are more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline_lib.config import RunConfig
from pipeline_lib.home import Home
from pipeline_lib.registry.champions import list_champions
from pipeline_lib.run.pipeline import find_model
from pipeline_lib.run.runs import list_runs
from pipeline_lib.serving.prediction import classify

COUNTED = {"engine": "optuna", "trials": 2, "workers": 1, "first_rung": 200, "ensemble": 1,
           "budget_seconds": 300}  # fmt: skip


def stripes(number: int, upright: bool) -> np.ndarray:
    """A noisy picture (28, 28) of stripes, either way."""
    random = np.random.default_rng(number)
    picture = random.integers(0, 120, (28, 28), dtype=np.uint8)
    rows = (picture.T if upright else picture)[random.integers(2, 6) :: 6]
    rows += 120
    return picture


def written(root: Path, start: int, count: int) -> Path:
    for number in range(start, start + count):
        upright = number % 2 == 0
        directory = root / ("upright" if upright else "flat")
        directory.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stripes(number, upright)).save(directory / f"{number:04}.png")
    return root


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Home(tmp_path / "home")


@pytest.mark.slow
def test_two_nights_of_a_folder_that_grows(home, tmp_path):
    root = written(tmp_path / "stripes", 0, 160)
    config = RunConfig(dataset=str(root), **COUNTED)
    first = find_model(config, home)
    assert first.model == "models:/automl-stripes@champion"
    assert first.test is not None
    path = root / "flat" / "0001.png"
    (answer,) = classify(home, "stripes", [path])
    assert answer.label in ("flat", "upright")
    written(root, 160, 80)
    later = find_model(config.model_copy(update={"seed": 1, "promote": "never"}), home)
    compared = later.findings.compared
    assert compared.not_compared == ""
    assert compared.champion is not None
    assert any(compared.champion_title in (each.a, each.b) for each in compared.comparisons)
    assert compared.size > first.findings.compared.size
    assert {entry.dataset for entry in list_runs(home)} == {"stripes"}
    assert [reign.model for reign in list_champions(home, "stripes")] == ["automl-stripes"]


@pytest.mark.slow
def test_arrays_in_memory(home):
    images = np.stack([stripes(number, number % 2 == 0) for number in range(120)])
    labels = ["upright" if number % 2 == 0 else "flat" for number in range(120)]
    found = find_model(RunConfig(**COUNTED), home, data=(images, labels))
    assert found.classes == ("flat", "upright")
    assert found.model == "models:/automl-data@champion"
    assert found.predict(images).shape == (120,)
