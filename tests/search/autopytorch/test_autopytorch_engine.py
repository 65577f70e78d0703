"""The Auto-PyTorch engine: the contract, with the real package, and what kills do to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from contract import EngineContract, family, run_search
from in_memory import validation_logits

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError, EngineUnavailable
from pipeline_lib.home import Home
from pipeline_lib.metrics import find
from pipeline_lib.models.saved import load_model
from pipeline_lib.run.run import Run
from pipeline_lib.search.autopytorch.engine import AutoPytorchEngine
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.trial import Trial, TrialState

pytestmark = pytest.mark.slow
BRIER = """\
def brier(answers, targets):
    answers = answers.copy()
    answers[range(len(targets)), targets] -= 1
    return (answers**2).sum(1).mean()

brier.direction = "minimize"
brier.needs = "probabilities"
"""
Requests = Callable[..., SearchRequest]


class TestAutoPytorchEngine(EngineContract):
    budget_seconds = 240.0

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, engine_home: Home) -> AutoPytorchEngine:
        return AutoPytorchEngine(engine_home)

    def test_every_trial_says_its_epochs(self, searched):
        images = len(searched.request.split.train)
        for trial in searched.trials:
            assert trial.rungs[0].samples == int(trial.notes["epochs"]) * images
            assert len(trial.rungs[0].curve) == int(trial.notes["epochs"])

    def test_only_finished_networks_are_left(self, searched):
        names = {path.name for path in searched.request.directory.iterdir()}
        assert names == {"study.jsonl", "trials", "worker.log"}


@pytest.fixture
def engine(engine_home: Home) -> AutoPytorchEngine:
    return AutoPytorchEngine(engine_home)


def the_worker() -> psutil.Process:
    workers = [p for p in psutil.Process().children() if "autopytorch.worker" in str(p.cmdline())]
    assert len(workers) == 1
    return workers[0]


def an_evaluation(worker: psutil.Process) -> psutil.Process:
    servers = [p for p in worker.children() if "forkserver" in str(p.cmdline())]
    return servers[0].children()[0]


def search_and_kill(
    engine: AutoPytorchEngine,
    request: SearchRequest,
    victim: Callable[[psutil.Process], psutil.Process],
) -> list[Trial]:
    """Search, and kill a process of the worker when a trial starts after another has ended."""
    killed = threading.Event()
    ended = 0

    def listen(trial: Trial) -> None:
        nonlocal ended
        ended += trial.state != TrialState.RUNNING
        if trial.state == TrialState.RUNNING and ended and not killed.is_set():
            killed.set()
            killing.start()

    def kill() -> None:
        worker = the_worker()
        while not (servers := [p for p in worker.children() if p.children()]):
            assert servers == []
        victim(worker).kill()

    killing = threading.Thread(target=kill)
    engine.search(request, listen, threading.Event())
    assert killed.is_set()
    killing.join()
    return engine.trials(request.study, request.directory)


def test_a_killed_worker_is_reported_and_what_finished_is_kept(
    engine: AutoPytorchEngine, make_request: Requests, caplog: pytest.LogCaptureFixture
) -> None:
    before = family()
    request = replace(make_request(trials=30), workers=1)
    with caplog.at_level(logging.WARNING, "automl"):
        trials = search_and_kill(engine, request, lambda worker: worker)
    assert family() <= before
    assert "its search process was killed (SIGKILL)" in caplog.text
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAILED]
    assert trials[0].model is not None and (trials[0].model / "weights.safetensors").exists()
    assert trials[1].reason == "its search process was killed (SIGKILL)"
    again = run_search(engine, replace(make_request(trials=1), workers=1))
    assert [trial.number for trial in again.trials] == [0, 1, 2]


def test_a_killed_evaluation_fails_alone(engine: AutoPytorchEngine, make_request: Requests) -> None:
    request = replace(make_request(trials=4), workers=1)
    trials = search_and_kill(engine, request, an_evaluation)
    states = [trial.state for trial in trials]
    assert states.count(TrialState.FAILED) == 1
    assert states.count(TrialState.COMPLETE) == 3
    (failed,) = [trial for trial in trials if trial.state == TrialState.FAILED]
    assert failed.reason == "its process was killed (exit code -9)"


def test_a_setting_reaches_the_search(engine_home: Home, make_request: Requests) -> None:
    config = RunConfig(engine="autopytorch", set=["data_loader:batch_size=[16,17]"])
    engine = AutoPytorchEngine.of(config, engine_home)
    trials = run_search(engine, make_request(trials=2)).trials
    assert {trial.configuration["data_loader:batch_size"] for trial in trials} <= {16, 17}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data_loader:batchsize=16", "did you mean data_loader:batch_size"),
        ("data_loader:batch_size=[32,16]", "upside down"),
        ("optimizer:__choice__=Adam", "did you mean AdamOptimizer"),
    ],
)
@pytest.mark.parametrize("engine_name", ["autopytorch", "all"])
def test_a_wrong_setting_is_refused_before_anything_is_written(
    engine_home: Home, tmp_path: Path, setting: str, says: str, engine_name: str
) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.engines.symlink_to(engine_home.engines)
    with pytest.raises(ConfigurationError, match=says) as caught:
        Run.begin(RunConfig(engine=engine_name, set=[setting]), home)
    assert caught.value.where == "set"
    assert [path.name for path in home.root.iterdir()] == ["engines"]


def test_preprocessing_without_a_counterpart_fails_its_trial_with_the_reason(
    engine_home: Home, make_request: Requests
) -> None:
    settings = {"feature_preprocessor:__choice__": "PolynomialFeatures"}
    engine = AutoPytorchEngine(engine_home, settings)
    trials = run_search(engine, make_request(trials=2)).trials
    assert {trial.state for trial in trials} == {TrialState.FAILED}
    assert {trial.reason for trial in trials} == {
        "the preprocessing PolynomialFeatures has no plain counterpart"
    }


def test_an_evaluation_is_held_to_its_memory(
    engine: AutoPytorchEngine, make_request: Requests
) -> None:
    (trial,) = run_search(engine, replace(make_request(trials=1), trial_memory=8)).trials
    assert (trial.state, trial.reason) == (TrialState.FAILED, "it needed more than 8 MB")


@pytest.mark.parametrize("metric", ["log_loss", "mine.py:brier"])
def test_it_searches_by_the_metric_that_it_is_given(
    engine: AutoPytorchEngine, make_request: Requests, tmp_path: Path, metric: str
) -> None:
    """Value and curve are our own of the network that is kept; so is what the search minimises."""
    if metric != "log_loss":
        (tmp_path / "mine.py").write_text(BRIER, encoding="utf-8")
        metric = f"{tmp_path}/{metric}"
    request = make_request(trials=1)
    request = replace(request, split=replace(request.split, metric=metric))
    (trial,) = run_search(engine, request).trials
    assert trial.state == TrialState.COMPLETE, trial.reason
    assert trial.model is not None
    logits = validation_logits(load_model(trial.model), request.split).numpy()
    expected = find(metric).scores(logits, request.split.validation_targets)
    assert trial.scores == pytest.approx(expected, rel=1e-3)
    assert trial.regret == trial.value == trial.scores[find(metric).name]
    assert trial.rungs[0].curve[-1].value == pytest.approx(trial.value, rel=1e-3)


@pytest.mark.long
def test_what_the_deadline_meets_ends_early_as_a_whole_network(
    engine: AutoPytorchEngine, make_request: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline_lib.search.autopytorch.driver.epochs_for", lambda cores, size: (20_000, 60_000)
    )
    (trial,) = run_search(engine, replace(make_request(seconds=90, trials=1), workers=1)).trials
    assert trial.state == TrialState.COMPLETE
    assert 0 < trial.rungs[0].samples < 20_000 * 320
    assert trial.rungs[0].curve[-1].samples == trial.rungs[0].samples
    assert trial.value is not None and trial.value > 0.7


def test_an_environment_that_is_not_there_is_said(tmp_path, make_request: Requests) -> None:
    with pytest.raises(EngineUnavailable, match="automl engines install autopytorch"):
        AutoPytorchEngine(Home(tmp_path)).search(make_request(), print, threading.Event())
