"""`automl reproduce`, from MLflow alone: the same bits where that can be, else within chance."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from made import made_rung
from small_mnist import prepare_small, small_dataset

from flows import cli, dashboard
from pipeline_lib.config import RunConfig
from pipeline_lib.data.sources import catalogue
from pipeline_lib.errors import ConfigurationError, UserError
from pipeline_lib.home import Home
from pipeline_lib.report.files import latest
from pipeline_lib.run.agreement import Verdict, agreement, chance_difference
from pipeline_lib.run.gc import Policy, clean
from pipeline_lib.run.recorded import configuration_of, recorded
from pipeline_lib.run.reproduce import reproduce
from pipeline_lib.run.run import Run, begin, load_data, search
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.tracking import open_store
from pipeline_lib.tracking.recorder import CONFIGURATION
from pipeline_lib.trial import Trial, TrialState

pytestmark = pytest.mark.slow
TRAINING = 1080  # images of small MNIST


def run_and_forget(home, name, **settings):
    """Record a run of which nothing is left but in MLflow."""
    small = {"engine": "optuna", "first_rung": 100, "seed": 5, "ensemble": 1}
    config = RunConfig(**small, **settings)
    run = Run.begin(config, home, name)
    with run.recording() as record:
        split = load_data(run)
        begin(run, split, record)
        request = run.request(split, "optuna", 1, time.monotonic() + config.budget_seconds)
        search(OptunaEngine(), request, threading.Event(), record.trial)
    shutil.rmtree(home.study(name))


@pytest.fixture(scope="module")
def home(mnist, tmp_path_factory):
    """Where two runs were recorded: `first` by count, `timed` ended by the clock, two workers."""
    home = Home(tmp_path_factory.mktemp("reproduce") / "home")
    prepare_small(mnist, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(catalogue, "CATALOGUE", {**catalogue.CATALOGUE, "mnist": small_dataset()})
        run_and_forget(home, "first", trials=2, workers=1, budget_seconds=60)
        run_and_forget(home, "timed", workers=2, budget_seconds=2)
        yield home


def verdicts(facts):
    return {fact.what: fact.verdict for fact in facts}


def changed(home, name, tags):
    """Change tags of a recorded run; returns what puts them back."""
    client = open_store(home).plain_client
    search_run = client.get_run(next(iter(recorded(home, name).trials.values())).info.run_id)
    parent = client.get_run(search_run.data.tags["mlflow.parentRunId"])
    pipeline = client.get_run(parent.data.tags["mlflow.parentRunId"])
    for tag, value in tags.items():
        client.set_tag(pipeline.info.run_id, tag, value)
    before = {tag: pipeline.data.tags[tag] for tag in tags}
    return pipeline, lambda: [
        client.set_tag(pipeline.info.run_id, tag, value) for tag, value in before.items()
    ]


def test_a_run_that_can_be_is_had_again_bit_for_bit(home, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["automl", "reproduce", "first", "--home", str(home.root)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert ended.value.code in (0, None), said.out
    assert len(lines) == 7
    assert all(line.startswith("same ") for line in lines)
    assert any("optuna weights" in line and "3 of 3 trials" in line for line in lines)
    assert said.err.startswith("Exact: ")
    assert said.err.count("(recorded ") == 3  # each trial as it ends
    assert not home.ledger.exists()  # the test set stayed closed


def test_what_it_leaves_is_no_run_and_goes_with_gc(home):
    reproductions = home.reproductions.study("")
    if not reproductions.exists():
        reproduce(home, "first", lambda line: None)
    assert not home.study("").exists() or list(home.study("").iterdir()) == []
    with pytest.raises(UserError, match="no run has finished"):
        latest(home)
    with pytest.raises(UserError, match="no run has an Optuna study"):
        dashboard.show(home, None, 0)
    names = sorted(path.name for path in reproductions.iterdir())
    told = clean(home, Policy(20, 100), dry_run=True)
    assert [each.study for each in told] == [f"reproductions/{name}" for name in names]
    assert sorted(path.name for path in reproductions.iterdir()) == names
    assert clean(home, Policy(20, 100), dry_run=False) == told
    assert told[0].freed > 0
    assert list(reproductions.iterdir()) == []


def test_the_recorded_trials_of_a_run_that_the_clock_ended_are_trained_again(home):
    said = []
    before = recorded(home, "timed")
    found = verdicts(facts := reproduce(home, "timed", said.append))
    assert found["optuna accuracies"] is Verdict.AGREES
    assert found["optuna weights"] is Verdict.NOTED
    assert Verdict.DIFFERS not in found.values()
    assert "Not exact" in said[0]
    assert "2 workers" in said[0]
    rungs = sum(len(before.rungs(run)) for run in before.of("optuna").values())
    assert sum("(recorded " in line for line in said) == rungs
    # Trials of the search, whose rungs are counted in samples, are had to the last bit.
    (weights,) = (fact for fact in facts if fact.what == "optuna weights")
    searched = [run for run in before.of("optuna", "search").values() if before.rungs(run)]
    assert int(weights.found.split()[0]) >= len(searched)


def test_another_torch_makes_it_a_matter_of_chance(home):
    _, restore = changed(home, "first", {"env.torch": "1.0"})
    said = []
    try:
        facts = reproduce(home, "first", said.append)
    finally:
        restore()
    assert "env.torch 1.0, now" in said[0]
    found = verdicts(facts)
    assert found["versions, machine"] is Verdict.NOTED
    assert found["optuna accuracies"] is Verdict.AGREES


def test_on_another_split_nothing_is_trained(home):
    fields = json.loads(recorded(home, "first").tags[CONFIGURATION])
    _, restore = changed(home, "first", {CONFIGURATION: json.dumps({**fields, "split_seed": 6})})
    try:
        found = verdicts(reproduce(home, "first", lambda line: None))
    finally:
        restore()
    assert found["split"] is Verdict.DIFFERS
    assert found["data"] is Verdict.SAME
    assert not any("optuna" in what for what in found)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"workers": 2}, "2 workers"),
        ({"trials": None}, "the clock"),
        ({"trials": 9}, "2 of the 9 trials"),
        ({"engine": "all"}, "Auto-PyTorch"),
        ({"first_rung": 10}, "cut trainings short"),  # its final would have been shorter
    ],
)
def test_why_a_run_cannot_be_had_bit_for_bit(home, settings, why):
    before = recorded(home, "first")
    device = next(iter(before.of("optuna").values())).data.tags["note.device"]
    assert before.why_not_exact(device, TRAINING) == []
    assert before.why_not_exact("cuda, bfloat16", TRAINING)
    other = replace(before, config=before.config.model_copy(update=settings))
    assert why in "; ".join(other.why_not_exact(device, TRAINING))


def test_a_trial_that_time_ended_makes_a_run_inexact(home):
    before = recorded(home, "first")
    run = next(iter(before.of("optuna", "search").values()))
    device = run.data.tags["note.device"]
    run.data.tags["state"] = "stopped"
    assert before.why_not_exact(device, TRAINING) == ["the clock cut trainings short"]


def test_what_chance_does_not_explain_differs(home):
    before = recorded(home, "first")
    trials = [
        Trial(
            "x", "optuna", int(key[1]), TrialState.COMPLETE, {}, stage=key[2],
            rungs=tuple(made_rung(samples, value, 1.0) for samples, value in before.rungs(run)),
        )
        for key, run in before.of("optuna").items()
    ]  # fmt: skip
    (same, _) = agreement(before, "optuna", trials, 6000)
    assert same.verdict is Verdict.AGREES
    assert same.found.startswith("3 of 3 trials")
    worse = replace(trials[0], rungs=(made_rung(100, 0.0, 1.0),))
    (other, _) = agreement(before, "optuna", [worse, *trials[1:]], 6000)
    assert other.verdict is Verdict.DIFFERS
    assert other.found.startswith("2 of 3 trials")
    (fewer, _) = agreement(before, "optuna", trials[1:], 6000)
    assert fewer.verdict is Verdict.DIFFERS


def test_what_chance_explains():
    # 95 %: 1.96 standard deviations of the difference of two proportions.
    assert chance_difference(0.9, 0.9, 10_000, 1) == pytest.approx(
        1.96 * 0.3 * 0.02**0.5 / 10, 1e-3
    )
    assert chance_difference(0.9, 0.9, 10_000, 20) > chance_difference(0.9, 0.9, 10_000, 1)
    assert chance_difference(1.0, 1.0, 100, 1) == 0.01  # one image


def test_hyperparameters_come_back_from_text_as_they_were():
    known = {"lr": 1e-05, "fc": 64, "double": True, "conv3": None, "stem": "pool", "drop": 0.1}
    run = SimpleNamespace(data=SimpleNamespace(params={n: str(v) for n, v in known.items()}))
    again = configuration_of(run)
    assert again == known
    assert [type(value) for value in again.values()] == [type(value) for value in known.values()]


@pytest.mark.parametrize("name", ["nowhere", "../first", "' or '1' = '1"])
def test_what_mlflow_does_not_have(home, name):
    with pytest.raises(ConfigurationError):
        recorded(home, name)


def test_a_record_that_is_not_whole(home):
    client = open_store(home).plain_client
    pipeline, restore = changed(home, "first", {CONFIGURATION: "{}"})
    try:
        client.delete_tag(pipeline.info.run_id, CONFIGURATION)
        with pytest.raises(ConfigurationError, match="is not recorded whole in MLflow"):
            recorded(home, "first")
    finally:
        restore()
