"""A pickle that acts when it is read, planted wherever a model, data or a report are read from."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_mnist import small_dataset
from small_network import small_network

from pipeline_lib.config import RunConfig
from pipeline_lib.data.source import prepare
from pipeline_lib.data.sources.catalogue import CATALOGUE
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.errors import (
    AutomlError,
    ConfigurationError,
    DataError,
    ImageError,
    ModelError,
    UserError,
)
from pipeline_lib.home import Home
from pipeline_lib.models.saved import build_model, load_model, save_model
from pipeline_lib.registry.promotion import promote
from pipeline_lib.registry.versions import Candidate, load_champion, register
from pipeline_lib.report.files import SUMMARY, TEST
from pipeline_lib.report.files import load as load_report
from pipeline_lib.run.run import Run
from pipeline_lib.run.sync import sync
from pipeline_lib.search.journal import journal
from pipeline_lib.search.records import read_trials
from pipeline_lib.serving.prediction import classify
from pipeline_lib.tracking import Recorder

ARCHITECTURE = small_network(2)

ENSEMBLE = {
    "kind": "ensemble", "shape": [1, 12, 12], "classes": 2,
    "members": [{"weight": 0.5, "architecture": ARCHITECTURE}] * 2,
}  # fmt: skip


class Hostile:
    """Makes a directory when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path):
    """Where the directory would be; no test may leave one."""
    place = tmp_path / "canary"
    yield place
    assert not place.exists(), "code from a data file ran"


@pytest.fixture
def poisons(canary, tmp_path):
    """Files whose reading runs code where it is done carelessly, by the way that they are read."""
    hostile = Hostile(canary)
    torch.save({"weight": hostile}, tmp_path / "torch.pt")
    objects = np.empty(3, object)
    objects[:] = [hostile] * 3
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(tmp_path / "old.zip", "w"))
        archive.writestr("data.pkl", pickle.dumps(hostile))
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(hostile))
    return [tmp_path / name for name in ("torch.pt", "objects.npy", "plain.pkl", "old.zip")]


def test_the_poison_works(poisons, tmp_path):
    """Without it every test here would pass for nothing."""
    canary = tmp_path / "canary"
    for path, read in zip(
        poisons[:3],
        (
            lambda p: torch.load(p, weights_only=False),
            lambda p: np.load(p, allow_pickle=True),
            lambda p: pickle.loads(p.read_bytes()),
        ),
        strict=True,
    ):
        with contextlib.suppress(FileExistsError):  # the object array calls it three times
            read(path)
        assert canary.is_dir()
        canary.rmdir()


@pytest.fixture(params=[ARCHITECTURE, ENSEMBLE], ids=["one network", "an ensemble"])
def network(request, tmp_path):
    directory = tmp_path / "network"
    save_model(build_model(request.param), request.param, directory)
    return directory


@pytest.mark.parametrize("file", ["weights.safetensors", "architecture.json"])
def test_a_trials_files(file, network, poisons):
    for poison in poisons:
        (network / file).write_bytes(poison.read_bytes())
        with pytest.raises(ModelError, match="cannot be read"):
            load_model(network)


def test_files_beside_a_trials_own_are_not_read(network, poisons):
    for poison in poisons:
        for name in ("model.pkl", "python_model.pkl", "weights.pt", "data.pkl"):
            (network / name).write_bytes(poison.read_bytes())
    load_model(network)


def test_the_description_of_an_ensemble(poisons, tmp_path):
    run = Run(RunConfig(), "first", Home(tmp_path / "home"))
    planted = run.home.study("first") / "ensemble" / "0000" / "trial.json"
    planted.parent.mkdir(parents=True)
    for poison in poisons:
        planted.write_bytes(poison.read_bytes())
        with pytest.raises(ConfigurationError, match="cannot be read"):
            run.ensembles.stored()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A home with a champion."""
    root = tmp_path_factory.mktemp("shop")
    home = Home(root / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        recorder = Recorder.open(home, "mnist", "first", {})
        save_model(build_model(ARCHITECTURE), ARCHITECTURE, root / "network")
        candidate = Candidate(root / "network", "mnist", ("0", "1"), recorder.run_id, {})
        promote(home, "mnist", register(home, candidate), "in a test")
        yield home


def places_in(home):
    return sorted(path for path in home.mlflow_artifacts.rglob("*") if path.is_file())


def test_every_file_of_the_champion(shop, poisons):
    """One at a time. What cannot be read is an error of ours; what is not needed is not read."""
    files = places_in(shop)
    assert {"weights.safetensors", "architecture.json", "MLmodel"} <= {path.name for path in files}
    for path in files:
        whole = path.read_bytes()
        for poison in poisons:
            path.write_bytes(poison.read_bytes())
            with contextlib.suppress(ModelError):
                load_champion(shop, "models:/automl-mnist@champion")
        path.write_bytes(whole)
    load_champion(shop, "models:/automl-mnist@champion")


def test_a_description_that_asks_for_objects(shop, canary):
    (description,) = (path for path in places_in(shop) if path.name == "MLmodel")
    whole = description.read_text()
    asks = f"!!python/object/apply:os.mkdir ['{canary}']"
    try:
        description.write_text(whole.replace("dataset: mnist", f"dataset: {asks}"))
        assert asks in description.read_text()
        with pytest.raises(ModelError):
            load_champion(shop, "models:/automl-mnist@champion")
    finally:
        description.write_text(whole)


def test_mlflows_own_loader(shop, poisons):
    """It runs the script that was stored with the model, and unpickles nothing."""
    import mlflow.pyfunc

    (folder,) = (path.parent for path in places_in(shop) if path.name == "MLmodel")
    (weights,) = folder.rglob("weights.safetensors")
    whole = weights.read_bytes()
    for poison in poisons:
        for name in ("python_model.pkl", "model.pkl", "artifacts/python_model.pkl"):
            (folder / name).write_bytes(poison.read_bytes())
        mlflow.pyfunc.load_model(str(folder))
        weights.write_bytes(poison.read_bytes())
        with pytest.raises(ModelError, match="cannot be read"):
            mlflow.pyfunc.load_model(str(folder))
        weights.write_bytes(whole)


def test_pictures_for_predict(shop, poisons, tmp_path):
    picture = tmp_path / "picture.png"
    for poison in poisons:
        picture.write_bytes(poison.read_bytes())
        with pytest.raises(ImageError, match="is no PNG"):
            classify(shop, "mnist", [picture])
        Image.new("L", (12, 12)).save(picture)
        picture.write_bytes(picture.read_bytes()[:33] + poison.read_bytes())
        with pytest.raises(ImageError, match="damaged"):
            classify(shop, "mnist", [picture])


@pytest.mark.parametrize("name", ["train_images", "train_labels"])
def test_the_arrays_of_a_search(name, tiny_data, poisons, tmp_path):
    from dataclasses import replace

    shutil.copytree(tiny_data.source.directory, tmp_path / "planted")
    planted = replace(tiny_data.source, directory=tmp_path / "planted")
    planted.examples()
    for poison in poisons:
        (planted.directory / "search" / f"{name}.npy").write_bytes(poison.read_bytes())
        with pytest.raises(DataError, match="cannot be read"):
            planted.examples()


def test_the_arrays_of_a_test_set(small_mnist, poisons, tmp_path):
    from dataclasses import replace

    sealed = replace(small_mnist.test_set, _directory=tmp_path)
    (tmp_path / "sealed").mkdir()
    for poison in poisons:
        (tmp_path / "sealed" / "test_images.npy").write_bytes(poison.read_bytes())
        with pytest.raises(DataError, match="cannot be read"):
            sealed.unseal()


def test_damaged_arrays_of_the_cache_are_made_anew(small_mnist, poisons, tmp_path):
    layout = small_mnist.directory.parents[1]
    ready = Catalogued.of(small_dataset(), Home(tmp_path / "home"), layout)
    for poison in poisons:
        (ready.directory / "search" / "train_images.npy").write_bytes(poison.read_bytes())
        again = Catalogued.of(small_dataset(), Home(tmp_path / "home"), layout)
        assert again.problem == small_mnist.problem
        again.examples()


def test_pickles_of_cifar10_are_checked_before_they_are_read(poisons, tmp_path):
    """Their format is a pickle, which torchvision reads: only with the MD5 of the catalogue."""
    for poison in poisons:
        for file in CATALOGUE["cifar10"].files:
            path = tmp_path / "layout" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(poison.read_bytes())
        with pytest.raises(DataError, match="does not have the MD5"):
            config = RunConfig(dataset="cifar10", data_root=str(tmp_path / "layout"))
            prepare(config, Home(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_idx_files(poisons, tmp_path):
    for poison in poisons:
        for file in CATALOGUE["mnist"].files:
            path = tmp_path / "layout" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(poison.read_bytes())
        with pytest.raises(DataError, match="idx magic"):
            config = RunConfig(dataset="mnist", data_root=str(tmp_path / "layout"))
            prepare(config, Home(tmp_path / "home"))


@pytest.mark.parametrize("file", [SUMMARY, TEST, "comparisons.json"])
def test_the_files_of_a_report(file, poisons, tmp_path):
    home = Home(tmp_path / "home")
    directory = home.run("first")
    directory.mkdir(parents=True)
    for poison in poisons:
        for name in (SUMMARY, TEST):
            (directory / name).write_text("{}")
        (directory / file).write_bytes(poison.read_bytes())
        with pytest.raises(UserError):
            load_report(home, "first")


def test_the_storages_of_the_engines(poisons, tmp_path):
    home = Home(tmp_path / "home")
    study = home.study("first")
    (study / "optuna").mkdir(parents=True)
    for poison in poisons:
        journal(study / "optuna").write_bytes(poison.read_bytes())
        (study / "run.json").write_bytes(poison.read_bytes())
        with contextlib.suppress(AutomlError, ValueError):  # or it holds no study of this name
            assert read_trials(study / "optuna", "first") == []
        with pytest.raises(UserError, match="cannot be read"):
            sync(home, "first")
