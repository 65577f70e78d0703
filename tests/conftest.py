"""Real MNIST, fetched once into `AUTOML_TEST_HOME` (default `.automl-test/`), and a small cut."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from small_mnist import first_of, prepare_small

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import prepare
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.splits import Split
from pipeline_lib.home import Home
from pipeline_lib.training.memory import tune_process

if TYPE_CHECKING:
    from pipeline_lib.run.pipeline import Outcome

tune_process()  # as the command line does
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
settings.register_profile("automl", deadline=None)  # a busy machine is no failure
settings.load_profile("automl")


@pytest.fixture(scope="session")
def test_home() -> Home:
    """A home that outlives the test run; tests may read it, and only `mnist` writes it."""
    default = Path(__file__).parents[1] / ".automl-test"
    return Home(Path(os.environ.get("AUTOML_TEST_HOME") or default).absolute())


@pytest.fixture(scope="session")
def mnist(test_home: Home) -> Catalogued:
    """All of real MNIST."""
    return prepare(RunConfig(dataset="mnist"), test_home)


@pytest.fixture
def fresh_home(mnist: Catalogued, test_home: Home, tmp_path: Path) -> Home:
    """An empty home that has MNIST."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.data.symlink_to(test_home.data)
    return home


@pytest.fixture(scope="session")
def finished_home(
    mnist: Catalogued, test_home: Home, tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """The home of `outcome`; tests read it, and write to copies."""
    home = Home(tmp_path_factory.mktemp("finished") / "home")
    home.root.mkdir()
    home.data.symlink_to(test_home.data)
    return home


@pytest.fixture(scope="session")
def outcome(finished_home: Home) -> Outcome:
    """The run `first` of two trials, each a few hundred samples long, its winner champion."""
    from pipeline_lib.run.pipeline import find_model

    counted = {"trials": 2, "workers": 1, "first_rung": 200}
    config = RunConfig(engine="optuna", budget_seconds=300, name="first", **counted)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return find_model(config, finished_home)


@pytest.fixture(scope="session")
def small_mnist(mnist: Catalogued, tmp_path_factory: pytest.TempPathFactory) -> Catalogued:
    """The first 1200 training and 400 test images of real MNIST, as a data set of its own."""
    return prepare_small(mnist, Home(tmp_path_factory.mktemp("small-mnist") / "home"))


@pytest.fixture(scope="session")
def small_data(small_mnist: Catalogued) -> Split:
    """What a search gets of `small_mnist`: 960 images to train on, 240 to validate with."""
    return Split(small_mnist, seed=0, share=0.2)


@pytest.fixture(scope="session")
def tiny_data(small_data: Split, tmp_path_factory: pytest.TempPathFactory) -> Split:
    """The first 400 training images: 320 to train on, 80 to validate with; no test set at all."""
    return first_of(small_data, 400, tmp_path_factory.mktemp("tiny-mnist"))
