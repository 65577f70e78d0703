"""The short form of `make chaos`: six kills of real runs, and nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import optuna
import pytest
from harness import Chaos
from promises import Broken, Promises

from pipeline_lib.home import Home
from pipeline_lib.run.sync import sync
from pipeline_lib.search.journal import journal, open_storage
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.experiments import open_experiment
from pipeline_lib.tracking.recorder import runs_of_study
from pipeline_lib.tracking.store import PATIENCE_SECONDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
]

KILLS = 6
AWAY_SECONDS = 60.0


@pytest.fixture(scope="module")
def chaos(mnist, test_home, tmp_path_factory):
    """A home in which a study was killed six times and then ended."""
    home = Home(tmp_path_factory.mktemp("chaos") / "home")
    home.root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        chaos = Chaos(home, test_home, seed=7)
        with chaos.servers():
            chaos.study("first", "optuna", KILLS)
            yield chaos


def trials_in_mlflow(home, study):
    runs = runs_of_study(open_store(home), study)
    return [run for run in runs if run.data.tags.get("automl.role") == "trial"]


def test_kills_at_random_moments_lose_nothing(chaos):
    assert chaos.victims.total() == KILLS
    assert Promises(chaos.home, "first").check(repair=False) >= 3


def test_a_run_whose_mlflow_is_away_for_a_minute_records_every_trial_once(chaos):
    """Its server is killed in mid-search and started again; the run waits and ends as usual."""
    open_experiment(open_store(chaos.home), "mnist")  # in files of this home, which are compared
    chaos.mlflow.start()
    process = chaos.start("away", "optuna", own_server=False, mlflow_url=chaos.mlflow.url)
    while not trials_in_mlflow(chaos.home, "away"):
        assert process.poll() is None
        time.sleep(0.2)
    chaos.mlflow.kill()
    began = time.monotonic()
    time.sleep(AWAY_SECONDS)
    assert process.poll() is None
    chaos.mlflow.start()
    away = time.monotonic() - began
    code = process.wait()
    chaos.wait_for_the_others("MLflow server")
    if away > PATIENCE_SECONDS - 5:  # a machine so busy that the server took half a minute
        sync(chaos.home, "away")
    else:
        assert code == 0, chaos.log()
    assert Promises(chaos.home, "away").check(repair=False) >= 3


def test_the_harness_sees_a_trial_that_was_left_running(chaos):
    storage = chaos.home.study("first") / "optuna"
    kept = journal(storage).read_bytes()
    optuna.load_study(study_name="first", storage=open_storage(storage)).ask()
    try:
        with pytest.raises(Broken, match="the storage has it open"):
            Promises(chaos.home, "first").check(repair=False)
    finally:
        journal(storage).write_bytes(kept)


def test_the_harness_sees_a_trial_that_mlflow_lacks(chaos):
    store, lost = open_store(chaos.home), trials_in_mlflow(chaos.home, "first")[0]
    store.plain_client.delete_run(lost.info.run_id)
    try:
        with pytest.raises(Broken, match="MLflow and the storage differ"):
            Promises(chaos.home, "first").check(repair=False)
    finally:
        store.plain_client.restore_run(lost.info.run_id)


def test_the_harness_sees_a_half_written_model(chaos):
    trials = trials_in_mlflow(chaos.home, "first")
    kept = [Path(url2pathname(urlsplit(trial.info.artifact_uri).path)) for trial in trials]
    copy = next(c for place in kept if (c := place / "model" / "weights.safetensors").exists())
    whole = copy.read_bytes()
    copy.unlink()
    copy.write_bytes(whole[: len(whole) // 2])
    try:
        with pytest.raises(Broken, match="is not whole"):
            Promises(chaos.home, "first").check(repair=False)
    finally:
        copy.write_bytes(whole)


def test_the_harness_sees_a_lost_trial(chaos):
    """A storage that forgets its trials, as one would that is not written at once, is found out."""
    promises = Promises(chaos.home, "first")
    promises.check(repair=False)
    path = journal(chaos.home.study("first") / "optuna")
    kept = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(Broken, match="changed or is gone"):
            promises.check(repair=False)
    finally:
        path.write_bytes(kept)
