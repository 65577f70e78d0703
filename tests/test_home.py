"""A home that is moved, copied, named oddly or another user's."""

import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import torch
from small_network import small_network

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import HomeError
from pipeline_lib.home import Home
from pipeline_lib.models.saved import build_model, save_model
from pipeline_lib.registry.versions import Candidate, load_champion, register
from pipeline_lib.run.run import Run, begin, load_data
from pipeline_lib.run.sync import Begun
from pipeline_lib.tracking import Recorder, open_store

ARCHITECTURE = small_network(2)
ADDRESS = "models:/automl-ants/1"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A home with one registered model, to be copied; its path is nowhere any more."""
    root = tmp_path_factory.mktemp("homes")
    home = Home(root / "first")
    torch.manual_seed(0)
    network = build_model(ARCHITECTURE).eval()
    save_model(network, ARCHITECTURE, root / "network")
    recorder = Recorder.open(home, "ants", "first", {})
    candidate = Candidate(root / "network", "ants", ["red", "black"], recorder.run_id, {})
    register(home, candidate)
    home.root.rename(root / "kept")
    return root


@pytest.mark.parametrize("name", ["moved", "a [b] 'c' & d;e", "größer"])
def test_a_home_that_was_moved_answers_and_writes_where_it_is(built, tmp_path, name):
    home = Home(tmp_path / name)
    shutil.copytree(built / "kept", home.root)
    pixels = torch.zeros(1, 1, 12, 12)
    assert load_champion(home, ADDRESS).module(pixels).shape == (1, 2)
    recorder = Recorder.open(home, "ants", "second", {})
    recorder.log_text("here", "note.txt")
    assert list(home.mlflow_artifacts.rglob("note.txt"))
    assert not (built / "first").exists()


def test_a_copy_leaves_the_original_alone(built, tmp_path):
    for name in ("original", "copy"):
        shutil.copytree(built / "kept", tmp_path / name)
        open_store(Home(tmp_path / name))
    Recorder.open(Home(tmp_path / "copy"), "ants", "second", {}).log_text("here", "note.txt")
    assert not list((tmp_path / "original").rglob("note.txt"))


def test_a_link_to_a_home_is_the_same_home(built, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(built / "kept", home.root)
    open_store(home)
    (tmp_path / "link").symlink_to(home.root)
    open_store(Home(tmp_path / "link"))
    with closing(sqlite3.connect(home.mlflow_database)) as connection:
        (address,) = connection.execute("SELECT artifact_uri FROM runs").fetchone()
    assert address.startswith(home.mlflow_artifacts.as_uri())


def test_a_study_finds_its_arrays_where_the_home_is_now(fresh_home, tmp_path):
    run = Run.begin(RunConfig(engine="optuna"), fresh_home, "first")
    with run.recording() as record:
        begin(run, load_data(run), record)
    moved = Home(tmp_path / "moved")
    fresh_home.root.rename(moved.root)
    split = Begun.read(moved, "first").split
    assert split.source.directory.is_relative_to(moved.root)
    assert len(split.train) == 54_000


def test_a_study_of_an_older_version_finds_its_arrays_too(fresh_home, tmp_path):
    run = Run.begin(RunConfig(engine="optuna"), fresh_home, "first")
    with run.recording() as record:
        split = load_data(run)
        begin(run, split, record)
    file = fresh_home.study("first") / "run.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    arrays, problem = split.source.directory / "search", split.problem
    kept["data"] = {
        "dataset": "mnist",
        "digest": problem.digest,
        "shape": [1, 28, 28],
        "classes": list(problem.target.names),
        "images": str(arrays / "train_images.npy"),
        "labels": str(arrays / "train_labels.npy"),
        "seed": 0,
        "validation_share": 0.1,
        "fold": None,
    }
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert load_data(run) == split  # it is continued
    moved = Home(tmp_path / "moved")
    fresh_home.root.rename(moved.root)
    assert Begun.read(moved, "first").split.digest == split.digest


@pytest.mark.parametrize("name", ["a%20b", "why?", "a#b", "back\\slash", "line\nend", "\udcff"])
def test_a_path_that_databases_misread_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("AUTOML_HOME", str(tmp_path / name))
    with pytest.raises(HomeError) as refused:
        Home.from_environment()
    assert "\n" not in str(refused.value)
    str(refused.value).encode()  # can be shown
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="takes two users")
def test_who_may_only_read_is_told_so(built):
    with tempfile.TemporaryDirectory() as place:  # pytest's own are closed to others
        Path(place).chmod(0o755)
        home = Home(Path(place, "home"))
        shutil.copytree(built / "kept", home.root)
        open_store(home)
        os.seteuid(65534)
        try:
            with pytest.raises(HomeError) as refused:
                open_store(home)
        finally:
            os.seteuid(0)
    assert "chown" in str(refused.value)


def test_a_file_that_is_anothers_is_one_line():
    error = HomeError.of(PermissionError(13, "Permission denied", "/somewhere/file"))
    assert error is not None
    assert "/somewhere/file" in str(error)
