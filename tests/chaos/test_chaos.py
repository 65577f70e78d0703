"""The short form of `make chaos`: a few kills of real runs, and nothing is lost."""

from __future__ import annotations

import pytest
from harness import Chaos
from promises import Broken, Promises

from pipeline_lib.home import Home
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import runs_of_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
]


@pytest.fixture(scope="module")
def chaos(mnist, test_home, tmp_path_factory):
    """A home in which a study was killed four times and then ended."""
    home = Home(tmp_path_factory.mktemp("chaos") / "home")
    home.root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        chaos = Chaos(home, test_home, seed=7)
        with chaos.servers():
            chaos.study("first", "optuna", kills=4)
        yield chaos


def test_kills_at_random_moments_lose_nothing(chaos):
    assert sum(chaos.victims.values()) == 4
    promises = Promises(chaos.home, "first")
    assert promises.check(repair=False) >= 3


def test_the_harness_sees_a_trial_that_mlflow_lacks(chaos):
    store = open_store(chaos.home)
    runs = runs_of_study(store, "first")
    lost = next(run for run in runs if run.data.tags.get("automl.role") == "trial")
    store.plain_client.delete_run(lost.info.run_id)
    try:
        with pytest.raises(Broken, match="MLflow and the storage differ"):
            Promises(chaos.home, "first").check(repair=False)
    finally:
        store.plain_client.restore_run(lost.info.run_id)


def test_the_harness_sees_a_half_written_model(chaos):
    copies = sorted(chaos.home.mlflow_artifacts.rglob("model/weights.safetensors"))
    whole = copies[0].read_bytes()
    copies[0].unlink()
    copies[0].write_bytes(whole[: len(whole) // 2])
    try:
        with pytest.raises(Broken, match="is not whole"):
            Promises(chaos.home, "first").check(repair=False)
    finally:
        copies[0].write_bytes(whole)


def test_the_harness_sees_a_lost_trial(chaos):
    """A storage that forgets its trials, as one would that is not written at once, is found out."""
    promises = Promises(chaos.home, "first")
    promises.check(repair=False)
    journal = chaos.home.study("first") / "optuna" / "study.journal"
    kept = journal.read_bytes()
    journal.unlink()
    try:
        with pytest.raises(Broken, match="changed or is gone"):
            promises.check(repair=False)
    finally:
        journal.write_bytes(kept)
