"""Trials that crash, hang, hoard or diverge in real workers: FAILED with a reason, nothing more."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import misbehaving
import psutil
import pytest
from test_workers import CONVNET

from pipeline_lib.config import RunConfig
from pipeline_lib.families.family import Family
from pipeline_lib.home import Home
from pipeline_lib.run.run import Run
from pipeline_lib.search.engine import SearchRequest, trial_seed
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.training.workers import TrialJob, TrialWorker, warm_up
from pipeline_lib.trial import TrialState

pytestmark = pytest.mark.slow

SAMPLES = 100
MEMORY = r"needs more than 1024 MiB \(trial_memory\)"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds to such limits")
BAD = {
    "segfault": ({"optimizer": misbehaving.Segfault("adamw")}, "killed by SIGSEGV"),
    "exit": ({"optimizer": misbehaving.Exit("adamw")}, "ended with exit code 7"),
    "forever": (
        {"optimizer": misbehaving.Forever("adamw")},
        r"no end of a rung within 5 s \(trial_seconds\)",
    ),
    "numpy-50-GB": ({"optimizer": misbehaving.NumpyHoard("adamw")}, MEMORY),
    "torch-50-GB": ({"optimizer": misbehaving.TorchHoard("adamw")}, MEMORY),
    "slowly-50-GB": ({"optimizer": misbehaving.SlowHoard("adamw")}, MEMORY),
    "unpicklable": ({"optimizer": misbehaving.Unpicklable("adamw")}, "UnpicklableError: this and"),
    "mute": ({"optimizer": misbehaving.Mute("adamw")}, "KeyError"),
    "nan": ({"optimizer": "sgd", "lr": 1e30, "batch_size": 16}, "diverged: the loss became"),
}
HOARDS = {"numpy-50-GB", "torch-50-GB", "slowly-50-GB"}


@pytest.fixture(scope="module")
def alone(tiny_data, tmp_path_factory):
    """The first rung of the good trial where nothing misbehaved before it."""
    warm_up()
    directory = tmp_path_factory.mktemp("alone")
    worker = TrialWorker(
        TrialJob(Family("convnet"), CONVNET, tiny_data, trial_seed(0, 1), directory)
    )
    worker.request(SAMPLES)
    rung = worker.receive()
    worker.close()
    return rung


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=on_linux) if k in HOARDS else k for k in BAD]
)
def test_a_trial_that_misbehaves_fails_and_the_next_is_unaffected(kind, alone, tiny_data, tmp_path):
    changes, reason = BAD[kind]

    family = misbehaving.FirstMisbehaves("convnet", sound=CONVNET, changes=changes)
    before = set(psutil.Process().children(recursive=True))
    request = SearchRequest(
        "study", tiny_data, "default", time.monotonic() + 60, 60.0, 2, 1, 0, tmp_path,
        trial_seconds=5.0, trial_memory=1024, first_rung=SAMPLES, families=(family,),
    )  # fmt: skip
    engine = OptunaEngine("random")
    engine.search(request, lambda trial: None, threading.Event())

    bad, good = [
        trial
        for trial in engine.trials(request.study, request.directory)
        if trial.stage == "search"
    ]
    assert bad.state is TrialState.FAILED
    assert re.search(reason, bad.reason)
    assert "\n" not in bad.reason
    assert bad.model is None
    assert bad.seconds < 30
    assert good.state is TrialState.COMPLETE
    assert replace(good.rungs[0], seconds=0) == replace(alone, seconds=0)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_the_limits_of_a_configuration_reach_the_engines(tiny_data, tmp_path):
    def limits(**fields):
        request = Run(RunConfig(**fields), "study", Home(tmp_path)).request(
            tiny_data, "optuna", 1, 0.0
        )
        return request.trial_seconds, request.trial_memory

    assert limits(trial_seconds=7, trial_memory=999) == (7, 999)
    assert limits(budget_seconds=60) == (300, 2048)
    assert limits(budget_seconds=3600) == (3600, 2048)


_ORPHAN = """
import pickle, sys
sys.path.insert(0, "tests")
from pipeline_lib.training.workers import TrialWorker
if __name__ == "__main__":
    worker = TrialWorker(pickle.loads(bytes.fromhex(sys.argv[1])))
    worker.request(100)
    print(worker._process.pid, flush=True)
    worker.receive()
"""


def test_a_training_that_hangs_ends_when_its_run_is_killed(tiny_data, tmp_path):
    job = TrialJob(Family("convnet"), CONVNET | BAD["forever"][0], tiny_data, 0, tmp_path)
    command = [sys.executable, "-c", _ORPHAN, pickle.dumps(job).hex()]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        time.sleep(3)  # until it hangs
        parent.kill()
    _, alive = psutil.wait_procs([worker], timeout=20)
    for process in alive:
        process.kill()
    assert not alive
