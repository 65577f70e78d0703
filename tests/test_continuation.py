"""A run that is refused, or stopped before its first trial: what stands in the records."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from test_record import everything_in_mlflow

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError, Stopped
from pipeline_lib.run.pipeline import find_model
from pipeline_lib.run.run import Run, begin, load_data

pytestmark = pytest.mark.slow


@pytest.fixture
def finished(fresh_home, monkeypatch):
    """A home with the finished run `same`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = RunConfig(name="same", engine="optuna", seed=1, workers=1)
    run = Run.begin(config, fresh_home)
    with run.recording() as record:
        begin(run, load_data(run), record)
    return fresh_home


def everything_of(home):
    study = home.study("same")
    files = {path: path.read_bytes() for path in study.rglob("*") if path.name != ".lock"}
    return everything_in_mlflow(home), files


OTHERS = {
    "seed": {"seed": 2},
    "split_seed": {"split_seed": 2},
    "space": {"space": "book"},
    "validation_share": {"validation_share": 0.2},
    "engine": {"engine": "autopytorch"},
}


def test_a_refused_continuation_changes_nothing(finished):
    before = everything_of(finished)
    assert [status for _, status, *_ in before[0]] == ["FINISHED"]
    for field, other in OTHERS.items():
        asked = {"name": "same", "engine": "optuna", "seed": 1, "workers": 1, **other}
        with pytest.raises(ConfigurationError) as refused:
            find_model(RunConfig(**asked), finished)
        assert refused.value.where == field
        assert everything_of(finished) == before, field


def test_a_run_that_is_stopped_before_its_first_trial_was_killed(fresh_home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = signal.getsignal(signal.SIGTERM)

    def stop():
        while signal.getsignal(signal.SIGTERM) is before:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(Stopped, match="nothing to evaluate"):
        find_model(RunConfig(name="vain", engine="optuna", workers=1), fresh_home)
    stopping.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert [status for _, status, *_ in everything_in_mlflow(fresh_home)] == ["KILLED"]
