"""`automl gc`: only losing weights go, and only where nobody needs them."""

from __future__ import annotations

import json
import sys
import threading
import time

import pytest
from made import made_rung
from test_tracking import a_trial

from flows import cli
from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ModelError
from pipeline_lib.home import RUN, Home
from pipeline_lib.models.saved import load_model
from pipeline_lib.registry.promotion import promote
from pipeline_lib.registry.versions import Candidate, load_champion, register
from pipeline_lib.run.gc import Policy, clean, losers
from pipeline_lib.run.run import Run, search
from pipeline_lib.run.sync import sync
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.trial import TrialState


def scored(number, accuracy):
    rungs = () if accuracy is None else (made_rung(100, accuracy, 1.0),)
    return a_trial(number, TrialState.COMPLETE, rungs=rungs)


@pytest.mark.parametrize(
    ("best", "last", "lost"),
    [(1, 0, [0, 1, 3, 4]), (1, 1, [0, 1, 3]), (2, 0, [1, 3, 4]), (9, 0, [3]), (1, 9, [])],
)
def test_the_policy(best, last, lost):
    trials = [scored(number, value) for number, value in enumerate([0.9, 0.5, 0.99, None, 0.7])]
    assert [trial.number for trial in losers(trials, Policy(best, last))] == lost


@pytest.fixture(scope="module")
def searched(tiny_data, tmp_path_factory):
    """A finished study of four trials in a home, its winner champion."""
    root = tmp_path_factory.mktemp("gc")
    home = Home(root / "home")
    run = Run.begin(RunConfig(engine="optuna", trials=3, workers=1, first_rung=100), home, "first")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        with run.recording() as record:
            deadline = time.monotonic() + run.config.budget_seconds
            request = run.request(tiny_data, "optuna", 1, deadline)
            trials = search(OptunaEngine(), request, threading.Event(), record.trial)
            best = max(trials, key=lambda trial: trial.value)
            record.flush()
            classes = tiny_data.problem.target.names
            candidate = Candidate(best.model, "mnist", classes, record.recorder.run_id, {})
            promote(home, "mnist", register(home, candidate), "in a test")
        known = {"config": run.config.model_dump(), "split_digest": "s", "sizes": {}}
        (home.study("first") / RUN).write_text(
            json.dumps({**known, "data": tiny_data.as_json(home)})
        )
        yield home, run, trials, best


def weights(home):
    return {path: path.stat().st_size for path in home.root.rglob("weights.safetensors")}


def bytes_on_disk(paths):
    """Files with two names once."""
    status = [path.stat() for path in paths]
    return sum({each.st_ino: each.st_size for each in status}.values())


def other_files(home):
    return {path for path in home.root.rglob("*") if path.name != "weights.safetensors"}


@pytest.mark.slow
def test_only_losing_weights_go(searched, monkeypatch, capsys):
    home, run, trials, best = searched
    losing = [trial for trial in trials if trial != best]
    before, others = weights(home), other_files(home)
    taken = bytes_on_disk(before)
    assert len(before) == 2 * len(trials) + 1  # studies, MLflow's copies, the registry

    with run.locked():
        (left_alone,) = clean(home, Policy(1, 0), dry_run=False)
    assert "going on" in left_alone.skipped
    assert weights(home) == before

    def gc(*options):
        command = ["gc", "--keep-best", "1", "--keep-last", "0", "--home", str(home.root)]
        monkeypatch.setattr(sys, "argv", ["automl", *command, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    said = gc("--dry-run")
    assert weights(home) == before
    assert gc() == said.replace("would free", "freed")
    after = weights(home)
    freed = taken - bytes_on_disk(after)
    assert f"({freed} bytes)" in said
    assert f"first: weights of {len(losing)} trials" in said
    assert len(after) == 3  # the best, its copy, and the registry's
    assert other_files(home) == others
    load_model(best.model)
    load_champion(home, "models:/automl-mnist@champion")
    with pytest.raises(ModelError):
        load_model(losing[0].model)
    assert "(0 bytes)" in gc()
    assert sync(home, "first") == {"optuna": len(trials)}


def test_what_leads_out_of_the_home_stays(searched, tmp_path):
    home, _run, trials, best = searched
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "weights.safetensors").write_bytes(b"precious")
    loser = next(trial for trial in trials if trial != best)
    aside = tmp_path / "aside"
    loser.model.rename(aside)
    loser.model.symlink_to(outside)
    try:
        clean(home, Policy(1, 0), dry_run=False)
        assert (outside / "weights.safetensors").read_bytes() == b"precious"
    finally:
        loser.model.unlink()
        aside.rename(loser.model)


def test_a_home_without_studies_and_a_study_without_description(tmp_path):
    home = Home(tmp_path / "home")
    assert clean(home, Policy(1, 0), dry_run=False) == []
    home.study("old").mkdir(parents=True)
    (skipped,) = clean(home, Policy(1, 0), dry_run=False)
    assert "is not there" in skipped.skipped
