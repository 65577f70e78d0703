"""An engine, a sampler and a pruner of one's own: one file and one line of a table each."""

from __future__ import annotations

import time

import pytest
from contract import run_search

from pipeline_lib import names
from pipeline_lib.config import RunConfig
from pipeline_lib.families.family import Family
from pipeline_lib.families.space import Space
from pipeline_lib.run.agreement import Verdict
from pipeline_lib.run.pipeline import find_model
from pipeline_lib.run.reproduce import reproduce
from pipeline_lib.run.sync import sync
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.trial import TrialState

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """What whoever adds them writes into `names.py`."""
    monkeypatch.setitem(names.ENGINES, "halving", "own_engine:Halving")
    monkeypatch.setitem(names.SAMPLERS, "lowest", "own_sampler:make")
    monkeypatch.setitem(names.PRUNERS, "line", "own_pruner:make")


def test_a_sampler_and_a_pruner_of_ones_own_search(tiny_data, tmp_path):
    config = RunConfig(engine="optuna", sampler="lowest", pruner="line")
    deadline = time.monotonic() + 600
    request = SearchRequest(
        "own", tiny_data, "default", deadline, 120.0, 5, 1, 0, tmp_path, first_rung=100
    )
    done = run_search(OptunaEngine.of(config, tmp_path), request)
    searched = [trial for trial in done.trials if trial.stage == "search"]
    lowest = Space(Family("convnet"), tiny_data.problem, 120.0).distributions["multiply_adds"].low
    *_, before_last, last = searched  # the priors came first
    for trial in (before_last, last):
        assert trial.configuration["multiply_adds"] == lowest
        assert trial.configuration["dropout"] == 0.0
    line = {100: 0.3, 300: 0.6}
    for trial in searched:
        went_on = all(r.value >= line[r.samples] for r in trial.rungs if r.samples in line)
        assert (trial.state == TrialState.PRUNED) == (not went_on)
    assert "line" in next(t.reason for t in searched if t.state == TrialState.PRUNED)


def test_an_engine_of_ones_own_runs_as_the_others_do(fresh_home, monkeypatch):
    """From the configuration to the registered winner, and what is made of its records later."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = RunConfig(
        engine="halving", name="own", trials=3, workers=1, budget_seconds=300, ensemble=2,
        validation_folds=2,
    )  # fmt: skip
    assert "halving" not in RunConfig().engines  # it does not say that it searches by default
    outcome = find_model(config, fresh_home)
    searched = [trial for trial in outcome.trials if trial.engine == "halving"]
    assert [trial.configuration["lr"] for trial in searched] == [0.2, 0.1, 0.05]
    assert outcome.winner.title.startswith(("Halved rates #", "Ensemble"))
    assert "halving" in (outcome.directory / "report.html").read_text(encoding="utf-8")
    assert sync(fresh_home, "own")["halving"] == 3
    facts = reproduce(fresh_home, "own", lambda line: None)
    assert {fact.verdict for fact in facts} <= {Verdict.SAME, Verdict.NOTED}
    assert any(fact.what.startswith("halving") for fact in facts)
