"""`automl sync` after MLflow lost everything: what a finished run said of itself is there again."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from small_mnist import prepare_small, small_dataset

from pipeline_lib import RunConfig, find_model
from pipeline_lib.data.sources import catalogue
from pipeline_lib.home import Home
from pipeline_lib.run.sync import sync
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import runs_of_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(mnist, tmp_path_factory):
    """One finished run of three trials."""
    root = tmp_path_factory.mktemp("sync")
    home = Home(root / "home")
    prepare_small(mnist, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        patch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "mnist": small_dataset()})
        counted = {"trials": 2, "workers": 1, "first_rung": 100}
        config = RunConfig(engine="optuna", budget_seconds=60, name="first", **counted)
        find_model(config, home)
        yield home


def the_run(home):
    store = open_store(home)
    (run,) = (
        run
        for run in runs_of_study(store, "first")
        if run.data.tags.get("automl.role") == "pipeline"
    )
    return store.plain_client, run


def times_in_mlflow(home):
    """Begin and end of every run of the study, in milliseconds, by role and name."""
    runs = runs_of_study(open_store(home), "first")
    return {
        (run.data.tags["automl.role"], run.info.run_name): (run.info.start_time, run.info.end_time)
        for run in runs
    }


def without_mlflow(home, directory):
    """The same home, elsewhere: this process still has the lost database open."""
    copy = Home(directory / "home")
    shutil.copytree(home.root, copy.root, ignore=shutil.ignore_patterns("mlflow", "data"))
    return copy


def tags_of(run):
    return {name: value for name, value in run.data.tags.items() if name != "mlflow.note.content"}


def artifacts_of(client, run):
    """Paths and sizes of its own files, the registered model's apart."""
    found, folders = {}, [""]
    while folders:
        for entry in client.list_artifacts(run.info.run_id, folders.pop() or None):
            if entry.is_dir:
                folders.append(entry.path)
            else:
                found[entry.path] = entry.file_size
    return found


def histories(client, run):
    return {
        name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics
    }


def test_metrics_tags_and_artifacts_of_a_finished_run_come_back(home, tmp_path):
    client, before = the_run(home)
    kept = artifacts_of(client, before)
    assert before.data.metrics["test_accuracy"] > 0
    assert {"test.json", "report.html", "leaderboard.csv", "README.md"} <= kept.keys()

    home = without_mlflow(home, tmp_path)
    sync(home, "first")

    client, after = the_run(home)
    assert after.info.run_id != before.info.run_id
    assert after.info.status == "FINISHED"
    assert after.data.metrics == before.data.metrics
    assert after.data.params == before.data.params
    assert tags_of(after) == tags_of(before)
    assert artifacts_of(client, after) == kept
    assert "test" in after.data.tags["mlflow.note.content"]

    once = histories(client, after)
    sync(home, "first")
    client, again = the_run(home)
    assert again.data.to_dictionary() == after.data.to_dictionary()
    assert histories(client, again) == once == dict.fromkeys(once, 1)
    assert artifacts_of(client, again) == kept


def test_a_run_that_left_the_test_set_closed_has_no_test_figures(home, tmp_path):
    home = without_mlflow(home, tmp_path)
    shutil.rmtree(home.test_figures)
    (home.run("first") / "test.json").write_text('{"untested": "test is \'never\'"}')
    sync(home, "first")
    _, run = the_run(home)
    assert run.info.status == "FINISHED"
    assert not [name for name in run.data.metrics if name.startswith("test_")]
    assert "test is 'never'" in run.data.tags["mlflow.note.content"]


def test_a_finished_run_keeps_the_time_that_it_took(home, tmp_path):
    before = times_in_mlflow(home)
    sync(home, "first")
    assert times_in_mlflow(home) == before

    sync(elsewhere := without_mlflow(home, tmp_path), "first")
    after = times_in_mlflow(elsewhere)
    searched = [times for (role, _), times in after.items() if role == "trial"]
    whole = min(began for began, _ in searched), max(ended for _, ended in searched)
    assert [after[key] for key in after if key[0] != "trial"] == [whole, whole]


def test_no_file_of_a_run_names_a_place_of_this_machine(home):
    places = (home.root, Path(__file__).parents[1], Path.home(), tempfile.gettempdir())
    files = [
        path for part in ("runs", "mlflow/artifacts") for path in (home.root / part).rglob("*")
    ]
    assert {"report.html", "summary.json", "MLmodel"} <= {path.name for path in files}
    for path in (path for path in files if path.is_file()):
        told = [place for place in map(os.fsencode, places) if place in path.read_bytes()]
        assert not told, path.name


def test_what_a_finished_run_said_is_not_overwritten(home):
    client, run = the_run(home)
    client.set_tag(run.info.run_id, "mlflow.note.content", "mine")
    sync(home, "first")
    _, again = the_run(home)
    assert again.data.tags["mlflow.note.content"] == "mine"
    assert again.info.run_id == run.info.run_id
