"""`automl reproduce`: from MLflow alone, and equal to the last bit where that is promised."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time

import pytest

from flows import cli
from pipeline_lib.config import RunConfig
from pipeline_lib.engines import ladder
from pipeline_lib.engines.optuna_engine import OptunaEngine
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.record import Record
from pipeline_lib.reproduction import recorded, reproduce
from pipeline_lib.run import Run, begin, load_data, search
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import CONFIGURATION

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def short_rungs():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(ladder, "BASE_SAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def home(mnist, test_home, tmp_path_factory):
    """Where a run of two trials was recorded; nothing of it is left but in MLflow."""
    home = Home(tmp_path_factory.mktemp("reproduce") / "home")
    config = RunConfig(engine="optuna", trials=2, workers=1, budget_seconds=60, seed=5)
    run = Run.begin(config, home, "first")
    home.data.symlink_to(test_home.data)
    with Record(run) as record:
        data = load_data(run)
        begin(run, data, record)
        visible = data.search_data(config.split_seed, config.validation_share)
        request = run.request(visible, "optuna", 1, time.monotonic() + 600)
        search(OptunaEngine(), request, threading.Event(), record.trial)
    shutil.rmtree(home.study("first"))
    return home


def verdicts(facts):
    return {fact.what: fact.matches for fact in facts}


def test_a_run_is_had_again_bit_for_bit(home, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["automl", "reproduce", "first", "--home", str(home.root)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out.splitlines()
    assert ended.value.code in (0, None), "\n".join(said)
    assert len(said) == 7
    assert all(line.startswith("same ") for line in said)
    assert any("optuna weights" in line and "of 3 trials" in line for line in said)
    assert not home.ledger.exists()  # the test set stayed closed
    assert not home.study("first").exists()


def test_what_differs_is_said(home):
    client = open_store(home).plain_client
    before = recorded(home, "first")
    assert before.is_exact
    pipeline = client.get_run(next(iter(before.trials.values())).data.tags["mlflow.parentRunId"])
    pipeline = client.get_run(pipeline.data.tags["mlflow.parentRunId"])
    fields = json.loads(pipeline.data.tags[CONFIGURATION])
    other = json.dumps({**fields, "seed": 6, "split_seed": 1})
    client.set_tag(pipeline.info.run_id, CONFIGURATION, other)
    client.set_tag(pipeline.info.run_id, "env.torch", "1.0")
    try:
        _, facts = reproduce(home, "first", lambda line: None)
    finally:
        client.set_tag(pipeline.info.run_id, CONFIGURATION, json.dumps(fields))
    found = verdicts(facts)
    assert found["data"]
    assert not found["split"]
    assert not found["optuna accuracies"]
    assert not found["optuna weights"]
    (environment,) = (fact for fact in facts if fact.what == "versions, machine")
    assert "env.torch 1.0, now" in environment.found


@pytest.mark.parametrize("name", ["nowhere", "../first", "' or '1' = '1"])
def test_what_mlflow_does_not_have(home, name):
    with pytest.raises(ConfigurationError):
        recorded(home, name)


def test_a_record_that_is_not_whole(home):
    client = open_store(home).plain_client
    found = recorded(home, "first")
    search_run = next(iter(found.trials.values())).data.tags["mlflow.parentRunId"]
    pipeline = client.get_run(search_run).data.tags["mlflow.parentRunId"]
    whole = client.get_run(pipeline).data.tags[CONFIGURATION]
    client.delete_tag(pipeline, CONFIGURATION)
    try:
        with pytest.raises(ConfigurationError, match="is not recorded whole in MLflow"):
            recorded(home, "first")
    finally:
        client.set_tag(pipeline, CONFIGURATION, whole)
