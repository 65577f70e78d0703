"""Real runs whose best model is best by another metric than accuracy."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import optuna
import pytest
from in_memory import validation_logits
from sklearn import metrics as published

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.models.saved import load_model
from pipeline_lib.registry.champions import list_champions
from pipeline_lib.registry.promotion import champion
from pipeline_lib.run.pipeline import Outcome, find_model
from pipeline_lib.run.runs import list_runs
from pipeline_lib.run.sync import sync
from pipeline_lib.search.journal import open_storage
from pipeline_lib.tracking import open_store
from pipeline_lib.trial import TrialState

pytestmark = pytest.mark.slow

OWN = """\
import numpy as np


def brier(answers, targets):
    truth = np.eye(answers.shape[1])[targets]
    return ((answers - truth) ** 2).sum(1).mean()


brier.direction = "minimize"
brier.needs = "probabilities"
"""
COUNTED = {"engine": "optuna", "workers": 1, "first_rung": 200, "budget_seconds": 300}


@pytest.fixture(scope="module")
def home(mnist, test_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("metrics") / "home")
    home.root.mkdir()
    home.data.symlink_to(test_home.data)
    return home


@pytest.fixture(scope="module")
def by_loss(home: Home) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        asked = {"metric": "log_loss", "name": "loss", "trials": 3, "test": "always"}
        return find_model(RunConfig(**COUNTED, **asked), home)


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def validation_answers(directory: Path, home: Home) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a kept network on the validation images, and their classes."""
    from pipeline_lib.run.sync import Begun

    split = Begun.read(home, "loss").split
    logits = validation_logits(load_model(directory), split)
    return logits.double().softmax(1).numpy(), split.validation_targets


def test_a_search_minimises_the_loss_that_scikit_learn_computes(by_loss, home):
    searched = [t for t in by_loss.trials if t.engine == "optuna" and t.rungs]
    for trial in searched:
        answers, targets = validation_answers(trial.model, home)
        assert trial.value == pytest.approx(published.log_loss(targets, answers), rel=1e-4)
        assert trial.regret == trial.value
        assert trial.accuracy == pytest.approx((answers.argmax(1) == targets).mean())
        assert trial.rungs[-1].curve[-1].value == trial.value
    assert by_loss.winner.value == min(t.value for t in by_loss.trials if t.rungs)
    study = optuna.load_study(
        study_name="loss", storage=open_storage(home.study("loss") / "optuna")
    )
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    told = {t.number: t.value for t in study.trials if t.state.name == "COMPLETE"}
    assert told
    assert told == {t.number: t.value for t in searched if t.state is TrialState.COMPLETE}


def test_every_record_has_the_metric_and_the_accuracy(by_loss, home):
    winner, client = by_loss.winner, open_store(home).client
    recorded = client.get_run(by_loss.run_id).data.metrics
    assert recorded["val_log_loss"] == winner.value
    assert recorded["val_accuracy"] == winner.accuracy
    test = by_loss.test
    assert recorded["test_log_loss"] == test.scored.value
    assert recorded["test_log_loss_low"] <= test.scored.value <= recorded["test_log_loss_high"]
    assert recorded["test_accuracy"] == test.accuracy
    tags = champion(home, "mnist").tags
    assert tags["metric"] == "log_loss"
    assert float(tags["val_log_loss"]) == pytest.approx(winner.value, abs=1e-4)
    assert {"val_accuracy", "test_accuracy", "test_log_loss"} <= tags.keys()
    with (by_loss.directory / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = [float(row["value"]) for row in rows if row["value"]]
    assert values == sorted(values)
    assert rows[0]["metric"] == "log_loss"
    rise = [
        run.data.metrics
        for run in client.search_runs([client.get_run(by_loss.run_id).info.experiment_id])
        if run.data.tags.get("automl.role") == "search"
    ]
    assert rise[0]["best_val_log_loss"] == min(
        t.value for t in by_loss.trials if t.rungs and t.engine == "optuna"
    )


def test_people_read_of_the_loss(by_loss, home):
    report = (by_loss.directory / "report.html").read_text(encoding="utf-8")
    card = (by_loss.directory / "README.md").read_text(encoding="utf-8")
    text = by_loss.winner.text
    for page in (report, card, repr(by_loss)):
        assert "log loss" in page
        assert text in page
    (reign,) = list_champions(home, "mnist")
    assert reign.validation == f"{text} log loss"
    entry = next(run for run in list_runs(home) if run.name == "loss")
    assert entry.best == f"{text} log loss"
    kept = json.loads((by_loss.directory / "comparisons.json").read_text(encoding="utf-8"))
    assert all(pair["metric"] == "log_loss" for pair in kept)


def test_a_study_goes_on_by_its_own_metric_alone(by_loss, home):
    with pytest.raises(ConfigurationError, match="log_loss") as refused:
        find_model(RunConfig(**COUNTED, name="loss", trials=3), home)
    assert (refused.value.where, refused.value.value) == ("metric", "accuracy")


def test_sync_writes_the_same_again(by_loss, home, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    monkeypatch.chdir(tmp_path)
    assert sync(home, "loss")["optuna"] == sum(t.engine == "optuna" for t in by_loss.trials)
    store = open_store(home)
    (experiment,) = [e for e in store.client.search_experiments() if e.name == "automl/mnist"]
    best = min(
        run.data.metrics["val_log_loss"]
        for run in store.client.search_runs([experiment.experiment_id])
        if run.data.tags.get("automl.role") == "trial" and "val_log_loss" in run.data.metrics
    )
    assert best == by_loss.winner.value


def test_a_champion_of_another_metric_is_compared_by_the_users_own(by_loss, home, tmp_path):
    """The second run is of a metric in a file; the first's winner is champion."""
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    asked = {"metric": f"{path}:brier", "name": "own", "trials": 1, "ensemble": 1}
    found = find_model(RunConfig(**COUNTED, **asked), home)
    pair = found.findings.compared.against_champion
    assert pair.metric.name == "mine.py:brier"
    assert found.winner.scores.keys() == {"accuracy", "mine.py:brier"}
    for name, trial in (("own", found.winner), ("champion", by_loss.winner)):
        answers, targets = validation_answers(trial.model, home)
        brier = ((answers - np.eye(10)[targets]) ** 2).sum(1).mean()
        if name == "own":
            ours = brier
            assert trial.value == pytest.approx(brier, rel=1e-4)
    assert pair.difference == pytest.approx(abs(ours - brier), rel=1e-3)
    assert (pair.a == found.winner.title) == (ours <= brier)
    path.unlink()  # what is recorded is read without it
    assert next(run for run in list_runs(home) if run.name == "own").best.endswith("mine.py:brier")


def test_a_mistake_in_the_users_file_ends_a_run_before_it_writes(home, tmp_path, fresh_home):
    path = tmp_path / "mine.py"
    path.write_text("def score(labels, targets):\n    return labels / 0\n", encoding="utf-8")
    before = {each for each in fresh_home.root.rglob("*") if not each.is_symlink()}
    with pytest.raises(ConfigurationError, match=r"mine\.py, line 2"):
        find_model(RunConfig(**COUNTED, metric=f"{path}:score"), fresh_home)
    assert {each for each in fresh_home.root.rglob("*") if not each.is_symlink()} == before
