"""A home of the commit before issue 20, moved elsewhere: what this version makes of it.

`old_home.py` made it, with that commit's own code, and wrote down what that code said of it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from old_home import ARCHIVE, FACTS, PICTURES, RUNS
from PIL import Image
from small_mnist import TEST, small_dataset

from flows import cli
from flows.running import configuration
from pipeline_lib import RunConfig, find_model
from pipeline_lib.data.sources import catalogue
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.models import load_model
from pipeline_lib.registry.versions import load_champion
from pipeline_lib.search.earlier import FROM
from pipeline_lib.tracking import open_store

pytestmark = pytest.mark.slow
FINISHED = [name for name in RUNS if name != "unfinished"]


@pytest.fixture(scope="module")
def known():
    """What the old version said."""
    return json.loads(FACTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The old home, for tests that leave it as it is."""
    directory = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(directory, filter="data")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "mnist": small_dataset()})
        yield Home(directory / "home")


@pytest.fixture
def home(opened, tmp_path):
    """A copy of it, to be changed."""
    return Home(shutil.copytree(opened.root, tmp_path / "home"))


@pytest.fixture
def automl(monkeypatch, capsys):
    """Run a command; its exit code, and the lines that it printed."""

    def run(home, *words):
        monkeypatch.setenv("AUTOML_HOME", "")  # put back after `--home` has set it
        monkeypatch.setattr(sys, "argv", ["automl", *words, "--home", str(home.root)])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        said = capsys.readouterr()
        return SimpleNamespace(code=code, lines=said.out.splitlines(), errors=said.err)

    return run


def cells(lines):
    """The cells of a printed table, by the first one of each row."""
    rows = [line.split() for line in lines if line.strip()]
    return {row[0]: row for row in rows}


def files_of(home):
    return {
        path: path.read_bytes()
        for path in home.root.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", "-shm", "-wal"))
    }


def pictures(home):
    """The first test images (B, C, H, W), from the old home's own file."""
    raw = (home.data / "Small/raw/t10k-images-idx3-ubyte").read_bytes()
    return np.frombuffer(raw, np.uint8, offset=16).reshape(TEST, 1, 28, 28)[:PICTURES].copy()


def values(trials):
    """Names and validation accuracies, as a leaderboard shows them."""
    shown = {}
    for each in trials:
        engine, _, number = each["label"].partition("-")
        shown[f"{engine} #{int(number)}"] = f"{each['val_accuracy']:.2%}"
    return shown


def has_rows(lines, wanted):
    """Whether a leaderboard shows each of these trials at its accuracy."""
    return all(
        any(f" {name} " in line and f" {value} " in line for line in lines)
        for name, value in wanted.items()
    )


def test_runs_and_what_became_of_them(opened, known, automl):
    listed = cells(automl(opened, "runs").lines)
    assert listed["unfinished"][2] == "unfinished"
    for name in FINISHED:
        assert listed[name][1:3] == ["mnist", "finished"]
        best = max(each["val_accuracy"] for each in known["trials"][name])
        assert listed[name][3] == f"{best:.2%}"
    assert listed["first"][4] == "v1"


@pytest.mark.parametrize("name", RUNS)
def test_a_leaderboard_has_every_trial_at_its_accuracy(opened, known, automl, name):
    shown = automl(opened, "leaderboard", name).lines
    assert has_rows(shown, values(known["trials"][name]))


def test_the_champion_is_the_same_and_answers_the_same(opened, known, automl):
    (champion,) = (line for line in automl(opened, "champion").lines if "automl-mnist" in line)
    assert champion.split()[1] == "v1"
    images = torch.from_numpy(pictures(opened))
    for version, then in known["models"].items():
        model = load_champion(opened, f"models:/automl-mnist/{version}")
        assert model.digest == then["digest"]
        answers = model.served.probabilities(model.module, images).numpy()  # (B, classes)
        np.testing.assert_allclose(answers, then["probabilities"], atol=1e-5, err_msg=version)
    assert load_champion(opened, "models:/automl-mnist@champion").digest == known["champion"]


def test_mlflow_serves_the_champion_by_the_script_that_it_kept(opened, known, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{opened.mlflow_database}")
    served = mlflow.pyfunc.load_model("models:/automl-mnist@champion")
    answers = served.predict(pictures(opened))
    np.testing.assert_allclose(answers, known["models"]["1"]["probabilities"], atol=1e-5)


def test_a_stored_ensemble_is_built_as_it_was(opened, known):
    network = load_model(opened.study("first") / "ensemble" / "0000")
    with torch.inference_mode():
        answers = network(torch.from_numpy(pictures(opened))).numpy()
    np.testing.assert_allclose(answers, known["ensemble"], atol=1e-5)


def test_predict_says_of_a_picture_what_it_said(opened, known, automl, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(PICTURES)]
    for path, image in zip(paths, pictures(opened), strict=True):
        Image.fromarray(image[0]).save(path)
    shown = cells(automl(opened, "predict", "mnist", *map(str, paths)).lines)
    for path, answer in zip(paths, known["models"]["1"]["probabilities"], strict=True):
        label, share = shown[str(path)][1:3]
        assert label == str(int(np.argmax(answer)))
        assert float(share.rstrip("%")) == pytest.approx(100 * max(answer), abs=0.11)


@pytest.mark.parametrize("name", FINISHED)
def test_a_report_is_written_again(home, known, automl, name):
    made = automl(home, "report", name)
    assert made.code == 0, made.errors
    page = (home.run(name) / "report.html").read_text(encoding="utf-8")
    for accuracy in values(known["trials"][name]).values():
        assert accuracy in page
    assert "models:/automl-mnist/" in page


def test_a_report_of_what_has_not_finished_is_one_line(opened, automl):
    refused = automl(opened, "report", "unfinished")
    assert refused.code == 2
    assert len(refused.errors.splitlines()) == 1


@pytest.mark.parametrize("mlflow_is_lost", [False, True])
def test_sync_records_every_trial(home, known, automl, mlflow_is_lost):
    if mlflow_is_lost:
        shutil.rmtree(home.root / "mlflow")
    for name in RUNS:
        synced = automl(home, "sync", name)
        assert synced.code == 0, synced.errors
        numbers = [int(word) for line in synced.lines for word in line.split() if word.isdigit()]
        assert sum(numbers) == len(known["trials"][name])


def test_gc_finds_the_weights_of_a_trial_that_lost(home, automl):
    trials = home.study("first") / "optuna" / "trials"
    lost = trials / "0000" / "weights.safetensors"
    shutil.copyfile(trials / "0004" / lost.name, lost)
    before = files_of(home)
    policy = ("--keep-best", "1", "--keep-last", "0")
    told = automl(home, "gc", "--dry-run", *policy)
    assert told.code == 0, told.errors
    assert {line.partition(":")[0] for line in told.lines} >= set(RUNS)
    assert str(lost.stat().st_size) in told.lines[-1]
    assert files_of(home).keys() == before.keys()
    automl(home, "gc", *policy)
    assert before.keys() - files_of(home).keys() == {lost}


def test_the_unfinished_study_goes_on(home, known, automl):
    found = find_model(RunConfig(name="unfinished", **RUNS["unfinished"]), home)
    (before,) = known["trials"]["unfinished"]
    kept = next(trial for trial in found.trials if trial.label == before["label"])
    assert [rung.samples for rung in kept.rungs] == before["rungs"]
    shown = automl(home, "leaderboard", "unfinished").lines
    assert has_rows(shown, values([before]))
    assert len(found.trials) >= RUNS["unfinished"]["trials"]
    assert cells(automl(home, "runs").lines)["unfinished"][2] == "finished"


@pytest.mark.parametrize(
    ("field", "other"),
    [("space", "default"), ("seed", 2), ("split_seed", 2), ("validation_share", 0.1),
     ("first_rung", 200), ("engine", "autopytorch")],
)  # fmt: skip
def test_a_study_is_continued_as_it_was_begun_or_not_at_all(home, field, other):
    open_store(home)  # MLflow's database follows a home that was moved, whatever is asked
    before = files_of(home)
    with pytest.raises(ConfigurationError) as refused:
        find_model(RunConfig(name="book", **{**RUNS["book"], field: other}), home)
    assert refused.value.where == field
    assert files_of(home) == before


def test_a_new_run_meets_the_old_champion_and_starts_from_old_runs(home):
    asked = {**RUNS["first"], "seed": 9, "trials": 1, "warm_start": ("past",)}
    found = find_model(RunConfig(name="new", **asked), home)
    pairs = json.loads((home.run("new") / "comparisons.json").read_text(encoding="utf-8"))
    assert any("champion v1" in (pair["a"], pair["b"]) for pair in pairs)
    assert any(trial.notes.get(FROM) for trial in found.trials)
    assert found.model == "models:/automl-mnist@challenger"


def test_promote_and_roll_back(home, known, automl):
    promoted = automl(home, "promote", "mnist", "2", "--yes")
    assert promoted.code == 0, promoted.errors
    champion = load_champion(home, "models:/automl-mnist@champion").digest
    assert champion == known["models"]["2"]["digest"]
    back = automl(home, "rollback", "mnist")
    assert back.code == 0, back.errors
    assert load_champion(home, "models:/automl-mnist@champion").digest == known["champion"]


def test_a_finished_run_is_reproduced(home, automl):
    said = automl(home, "reproduce", "first")
    assert said.code == 0, "\n".join(said.lines)
    verdicts = [line.split()[0] for line in said.lines]
    assert "differs" not in verdicts
    for what in ("data", "split"):
        assert any(line.split()[:2] == ["same", what] for line in said.lines)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_can_be_asked_for_again_by_its_file(opened, name):
    config = configuration(None, {}, str(opened.run(name) / "run.yaml"))
    assert (config.seed, config.split_seed) == (RUNS[name].get("seed", 0), 0)
    assert config.space == RUNS[name].get("space", "default")
