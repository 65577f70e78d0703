"""Finalists on folds: the folds, the test, and real trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import made_rung
from scipy.stats import ttest_1samp

from pipeline_lib.config import RunConfig
from pipeline_lib.data.splits import stratified_folds
from pipeline_lib.home import Home
from pipeline_lib.models.convnet import design
from pipeline_lib.models.saved import build_model, save_model
from pipeline_lib.outcome import Ensemble, Member
from pipeline_lib.run.run import Run
from pipeline_lib.selection import folds
from pipeline_lib.selection.folds import Folded, compare_finalists
from pipeline_lib.statistics import compare_on_folds, corrected_t_test
from pipeline_lib.trial import ENSEMBLE, Trial, TrialState

ALIKE = {
    "multiply_adds": 1e5, "stem": "stride", "stem_kernel": 5, "conv3": 0.0, "padding": "valid",
    "fc": 0, "dropout": 0.0, "optimizer": "adamw", "batch_size": 64, "label_smoothing": 0.05,
    "augmentation": "shift", "lr": 6e-3, "weight_decay": 2e-2,
}  # fmt: skip


@given(st.lists(st.integers(0, 4), min_size=4, max_size=80), st.integers(2, 4), st.integers(0, 99))
def test_folds_deal_out_every_class_evenly(labels, count, seed):
    labels = np.array(labels)
    found = stratified_folds(labels, count, seed)
    assert (found == stratified_folds(labels, count, seed)).all()
    assert set(found) == set(range(count))
    for group in [np.ones(len(labels), bool), *(labels == each for each in set(labels))]:
        sizes = np.bincount(found[group], minlength=count)
        assert sizes.max() - sizes.min() <= 1


def test_other_seeds_give_other_folds():
    labels = np.arange(100) % 10
    assert (stratified_folds(labels, 5, 0) != stratified_folds(labels, 5, 1)).any()


def test_a_fold_is_held_out_of_the_training_images(small_data):
    parts = [small_data.fold(number, 4) for number in range(4)]
    held_out = np.concatenate([part.validation for part in parts])
    assert sorted(held_out) == list(range(len(small_data.examples)))
    for part in parts:
        assert sorted([*part.train, *part.validation]) == sorted(held_out)
    assert len({part.digest for part in parts}) == 4


@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=12).filter(lambda d: np.std(d) > 1e-6))
def test_the_variance_is_corrected_as_published(differences):
    count = len(differences)
    (low, high), p, detectable = corrected_t_test(differences)
    plain = ttest_1samp(differences, 0)
    wider = np.sqrt((1 / count + 1 / (count - 1)) / (1 / count))
    ends = plain.confidence_interval(0.95)
    assert high - low == pytest.approx(wider * (ends.high - ends.low))
    assert (low + high) / 2 == pytest.approx(np.mean(differences), abs=1e-12)
    assert p >= plain.pvalue
    assert (p < 0.05) == (not low <= 0 <= high)
    assert detectable > (high - low) / 2


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.01, 0.0)])
def test_folds_that_all_say_the_same(difference, p):
    assert corrected_t_test([difference] * 3) == ((difference, difference), p, 0.0)


def test_its_interval_covers_where_folds_share_images():
    """Differences on K folds correlate by 1/K, the share that is held out (Nadeau & Bengio)."""
    draw, count, inside = np.random.default_rng(3), 5, 0
    covariance = np.full((count, count), 1 / count) + np.eye(count) * (1 - 1 / count)
    nights = draw.multivariate_normal(np.full(count, 0.2), covariance, 2000)
    for night in nights:
        (low, high), _, _ = corrected_t_test(night)
        inside += low <= 0.2 <= high
    assert 0.93 <= inside / len(nights) <= 0.97


def test_pairs_are_corrected_for_being_looked_at_together():
    found = compare_on_folds({"x": [0.9, 0.91, 0.9], "y": [0.95, 0.97, 0.95], "z": [0.8, 0.8, 0.9]})
    assert {(c.a, c.b) for c in found} == {("y", "x"), ("x", "z"), ("y", "z")}
    assert all(c.adjusted_p >= c.p for c in found)
    sentence = found[0].sentence()
    assert sentence.startswith("On 3 folds y is significantly better than x: +5.33 points")
    assert "minimum detectable difference" in sentence
    assert compare_on_folds({"x": [0.9, 0.8]}) == ()


def test_what_folds_cannot_show_is_said_where_they_compare_something():
    pairs = compare_on_folds({"x": [0.9, 0.91], "y": [0.95, 0.97], "z": [0.8, 0.8]})
    own = [pair.sentence() for pair in pairs]
    (caveat,) = [each for each in Folded(pairs).sentences() if each not in own]
    assert "chosen" in caveat
    assert Folded(pairs, ("z is left out",)).sentences() == [*own, caveat, "z is left out"]
    assert Folded((), ("z is left out",)).sentences() == ["z is left out"]


def a_trial(engine, number, configuration, accuracy, **changed):
    rungs = (made_rung(600, accuracy, 0.5),)
    here = Path("/nowhere", f"{engine}{number}")  # its own weights are not asked for
    return Trial(
        "first",
        engine,
        number,
        TrialState.COMPLETE,
        configuration,
        rungs,
        model=here,
        family="convnet" if engine == "optuna" else "",
        **changed,
    )


@pytest.fixture
def run(tmp_path):
    run = Run(
        RunConfig(engine="optuna", validation_folds=2, workers=1), "first", Home(tmp_path / "home")
    )
    run.home.study("first").mkdir(parents=True)
    return run


TRIALS = [
    a_trial("optuna", 0, ALIKE, 0.9),
    a_trial("optuna", 1, ALIKE | {"augmentation": "none"}, 0.8),
    a_trial(ENSEMBLE, 0, {"optuna-0000": 0.5, "optuna-0001": 0.5}, 0.95),
]


def keep(run, ensemble, tmp_path):
    """Put it where the run keeps its ensembles, with any weights: folds train members again."""
    architecture = design(ALIKE, (1, 28, 28), 10)
    save_model(build_model(architecture), architecture, tmp_path / "any")
    members = tuple(
        Member(label, label, weight, 0.9, 0.9, temperature=1.5)
        for label, weight in ensemble.configuration.items()
    )
    run.ensembles.save(
        Ensemble(replace(ensemble, model=None), members), [tmp_path / "any"] * len(members)
    )


def test_networks_of_autopytorch_are_said_to_be_left_out(run, small_data, monkeypatch, tmp_path):
    monkeypatch.setattr(folds, "retrain", None)  # nothing is trained
    trials = [
        TRIALS[0],
        a_trial("autopytorch", 3, {}, 0.95),
        a_trial(ENSEMBLE, 0, {"optuna-0000": 0.5, "autopytorch-0003": 0.5}, 0.96),
    ]
    keep(run, trials[-1], tmp_path)
    found = compare_finalists(run.config, run.ensembles, trials, small_data, "champion v2")
    assert found.comparisons == ()
    said = found.sentences()
    assert said[0].startswith("Auto-PyTorch #3 was not trained again on folds: only its own search")
    assert said[1].startswith("Ensemble was not trained again on folds")
    assert said[2].startswith("The champion v2 was not trained again on folds: the registry keeps")
    assert said[3].startswith("Nothing is compared on 2 folds")


@pytest.mark.slow
def test_finalists_are_trained_again_on_the_same_folds(run, small_data, caplog, tmp_path):
    caplog.set_level("INFO", logger="automl")
    keep(run, TRIALS[2], tmp_path)
    found = compare_finalists(run.config, run.ensembles, TRIALS, small_data, "")
    assert found.left_out == ()
    (pair,) = found.comparisons
    assert {pair.a, pair.b} == {"Ensemble", "Optuna #0"}
    assert len(pair.differences) == 2
    assert any(pair.differences)
    assert "2 models are trained again on each of 2 folds" in caplog.text
    assert compare_finalists(run.config, run.ensembles, TRIALS, small_data, "") == found
    assert [path.name for path in run.home.study("first").iterdir()] == [ENSEMBLE]


@pytest.mark.slow
def test_a_training_that_fails_takes_only_its_own_models_out(run, small_data, tmp_path):
    broken = ALIKE | {"optimizer": "adamw", "lr": float("inf")}
    trials = [TRIALS[0], a_trial("optuna", 1, broken, 0.8), TRIALS[2]]
    keep(run, TRIALS[2], tmp_path)
    found = compare_finalists(run.config, run.ensembles, trials, small_data, "")
    assert found.comparisons == ()
    assert "optuna-0001 could not be trained again: " in found.sentences()[0]
