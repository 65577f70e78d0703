"""The value of a trial, and what follows from it when the metric is another than accuracy."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from made import made_rung

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.metrics import ACCURACY, METRICS, Metric
from pipeline_lib.outcome import Champion, ComparisonResult
from pipeline_lib.report.charts import value_over_time
from pipeline_lib.report.figures import value_axis
from pipeline_lib.run.gc import Policy, losers
from pipeline_lib.run.progress import Progress
from pipeline_lib.search.finalists import next_finalist
from pipeline_lib.selection.comparison import decide
from pipeline_lib.selection.ensemble import select
from pipeline_lib.selection.ensemble_storage import Ensembles
from pipeline_lib.selection.leaderboard import best, finalists, leaderboard, phrase, texts
from pipeline_lib.statistics import Comparison
from pipeline_lib.test_result import TestResult
from pipeline_lib.tracking.trials import metrics_of, regret_of, run_name
from pipeline_lib.trial import Epoch, Rung, Trial, TrialState, by_regret, thaw

LOG_LOSS, MACRO_F1 = METRICS["log_loss"], METRICS["macro_f1"]


def a_trial(number: int, metric: Metric, scores: dict[str, float] | None, **more: object) -> Trial:
    rungs = (Rung.of(metric, 300, scores, 1.0),) if scores else ()
    fields = {"model": Path("kept"), "parameters": 10, "multiply_adds": 10, **more}
    return Trial(
        "s", "optuna", number, TrialState.COMPLETE, {"lr": 0.1}, rungs, metric=metric, **fields
    )


def of_loss(number: int, loss: float | None, **more: object) -> Trial:
    scores = None if loss is None else {"log_loss": loss, "accuracy": 0.9}
    return a_trial(number, LOG_LOSS, scores, **more)


def confused(rare_right: int, common_wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers (510, 2) as logits, and the classes: 10 images of the rare one, 500 of the other."""
    targets = np.repeat([1, 0], [10, 500])
    answered = targets.copy()
    answered[rare_right:10] = 0
    answered[10 : 10 + common_wrong] = 1
    return np.eye(2)[answered], targets


def test_what_is_best_depends_on_the_metric_when_a_class_is_rare():
    """One never answers the rare class; one finds most of it, for some false alarms."""
    never, finds = confused(0, 0), confused(8, 9)
    by_metric = {
        metric: [a_trial(n, metric, metric.scores(*each)) for n, each in enumerate((never, finds))]
        for metric in (ACCURACY, MACRO_F1)
    }
    assert best(by_metric[ACCURACY]).number == 0
    assert best(by_metric[MACRO_F1]).number == 1
    ours = by_metric[MACRO_F1]
    assert [trial.accuracy for trial in ours] == [trial.value for trial in by_metric[ACCURACY]]
    # By hand: 8 true, 9 false alarms, 2 missed; 491 and 2 and 9 of the other class.
    assert ours[1].value == pytest.approx((2 * 8 / (2 * 8 + 9 + 2) + 2 * 491 / (2 * 491 + 11)) / 2)


def test_a_trial_without_a_value_is_never_the_best():
    """Where a smaller value is better, a missing one must not count as 0."""
    without, worse, better = of_loss(0, None), of_loss(1, 2.0), of_loss(2, 0.5)
    trials = [without, worse, better]
    assert min(trials, key=by_regret) == better
    assert list(leaderboard(trials)["trial"]) == [2, 1, 0]
    assert best(trials) == better
    assert finalists([without, worse]) == [worse]
    progress = Progress("optuna", 60.0)
    assert not progress.add(without)
    assert progress.add(worse)
    assert progress.add(better)
    assert not progress.add(replace(worse, number=3))
    assert progress.look().incumbent == better
    assert losers(trials, Policy(best=1, last=0)) == [without, worse]


def test_the_finalist_is_the_one_with_the_smaller_loss():
    chosen = next_finalist([of_loss(0, 0.9), of_loss(1, 0.2), of_loss(2, 0.4)], [], {"": ""})
    assert chosen is not None
    assert chosen.trial.number == 1


def test_a_mixture_begins_with_the_best_by_the_metric():
    """The first errs least; by macro F1 the second is best, since it knows the rare class."""
    (never, targets), (finds, _) = confused(0, 0), confused(8, 9)
    probabilities = np.stack([0.9 * never + 0.05, 0.9 * finds + 0.05])
    assert select(probabilities, targets, 1, ACCURACY).drawn[0] == 0
    assert select(probabilities, targets, 1, MACRO_F1).drawn[0] == 1


def a_contest(*pairs: Comparison, **tags: str) -> ComparisonResult:
    current_champion = Champion(3, "older", {"split_digest": "s", "chosen_from": "1", **tags})
    return ComparisonResult("Optuna #1", pairs, "s", 100, 1, 1.0, (0.0, 1.0), current_champion)


def test_a_champion_of_another_split_is_compared_by_the_metric_of_today():
    winner = of_loss(1, 0.2)
    assert decide("better", a_contest(val_log_loss="0.3000"), winner).promote
    assert not decide("better", a_contest(val_log_loss="0.1000"), winner).promote
    by_another = a_contest(val_accuracy="0.9900", metric="accuracy")
    assert not decide("better", by_another, winner).promote


def test_a_smaller_loss_promotes():
    names = ("Optuna #1", "champion v3")
    pair = Comparison(*names, 0.1, (0.05, 0.2), 0.001, 0.001, 0.02, LOG_LOSS)
    decided = decide("significant", a_contest(pair), of_loss(1, 0.2))
    assert decided.promote
    assert "log loss" in decided.why


def test_mlflow_gets_the_metric_beside_the_accuracy():
    written = {(name, step): value for name, value, step in metrics_of(of_loss(1, 0.25))}
    assert written["val_accuracy", 300] == 0.9
    assert written["val_log_loss", 300] == written["regret", 300] == 0.25
    assert "0.2500" in run_name(of_loss(1, 0.25))
    plain = {name for name, _, _ in metrics_of(Trial(
        "s", "optuna", 1, TrialState.COMPLETE, {}, (made_rung(300, 0.9),)
    ))}  # fmt: skip
    assert plain == {"val_accuracy", "rung_seconds", "seconds"}


def test_the_regret_of_a_recorded_trial_is_known_from_its_numbers():
    assert regret_of({"val_accuracy": 0.75}) == 0.25  # as older versions wrote it
    assert regret_of({"val_accuracy": 0.75, "val_log_loss": 2.0, "regret": 2.0}) == 2.0
    assert regret_of({"seconds": 1.0}) is None


def test_an_axis_has_the_best_on_top():
    for metric, values in ((LOG_LOSS, [0.1, 0.2, 4.0]), (METRICS["kappa"], [0.1, 0.8, 0.9])):
        bottom, top = value_axis(metric, values)["range"]
        assert metric.regret(top) < metric.regret(bottom)
    chart = value_over_time([of_loss(0, 0.4), of_loss(1, 0.9), of_loss(2, 0.1)])
    line = next(each for each in chart.figure["data"] if each["mode"] == "lines")
    assert line["y"] == [0.4, 0.4, 0.1, 0.1]


def test_people_read_the_metric_and_the_accuracy():
    head, (row, *_) = texts(leaderboard([of_loss(1, 0.25)]))
    shown = dict(zip(head, row, strict=True))
    assert (shown["validation"], shown["accuracy"]) == ("0.2500", "90.00%")
    plain, _ = texts(leaderboard([a_trial(1, ACCURACY, {"accuracy": 0.9})]))
    assert "accuracy" not in plain


# What older versions wrote, to the letter.

OLD_RUNG = {
    "samples": 600,
    "val_accuracy": 0.95,
    "seconds": 2.0,
    "curve": [{"samples": 600, "train_loss": 0.4, "val_accuracy": 0.95}],
}
OLD_STUDY = """\
{"dataset": "mnist", "digest": "d", "validation_share": 0.2, "split_seed": 0, "space": "default", \
"seed": 3}
{"number": 0, "state": "running", "configuration": {"lr": 0.1}, "rungs": [], "parameters": null, \
"multiply_adds": null, "started": 5.0, "seconds": 0.0, "stage": "search", "reason": "", \
"notes": {}, "saved": false}
{"number": 0, "state": "complete", "configuration": {"lr": 0.1}, "rungs": [{"samples": 600, \
"val_accuracy": 0.95, "seconds": 2.0, "curve": [{"samples": 600, "train_loss": 0.4, \
"val_accuracy": 0.95}]}], "parameters": 7, "multiply_adds": 9, "started": 5.0, "seconds": 2.5, \
"stage": "search", "reason": "", "notes": {"epochs": "2"}, "saved": true}
"""
OLD_ENSEMBLE = {
    "trial": {
        "study": "s", "engine": "ensemble", "number": 0, "state": "complete",
        "configuration": {"optuna-0001": 0.5, "optuna-0002": 0.5},
        "rungs": [{"samples": 1200, "val_accuracy": 0.96, "seconds": 0.0, "curve": []}],
        "parameters": 20, "multiply_adds": 30, "started": 1.0, "seconds": 2.0, "stage": "final",
        "reason": "", "model": None, "notes": {"mixtures": "1"},
    },
    "members": [
        {"label": "optuna-0001", "title": "Optuna #1", "weight": 0.5, "alone": 0.95, "joined": 0.95}
    ],
}  # fmt: skip
OLD_BOARD = {"rank": "1", "engine": "optuna", "trial": "4", "val_accuracy": "0.9912"}
OLD_TEST = {
    "accuracy": 0.99, "interval": [0.98, 0.995], "size": 100, "classes": [], "confusion": [],
    "reading": 1, "calibration": None, "robustness": {}, "mistakes": [],
}  # fmt: skip


def test_an_old_record_is_of_accuracy():
    record = {"state": "pruned", "configuration": {"lr": 0.1}, "rungs": [OLD_RUNG]}
    trial = thaw(record, study="s", engine="optuna", number=4)
    assert trial.metric == ACCURACY
    assert (trial.value, trial.regret, trial.scores) == (0.95, 1 - 0.95, {"accuracy": 0.95})
    assert trial.rungs[0].curve == (Epoch(600, 0.4, 0.95),)


def test_an_old_study_of_auto_pytorch_is_read(tmp_path):
    from pipeline_lib.search.lines import Journal

    (tmp_path / "study.jsonl").write_text(OLD_STUDY, encoding="utf-8")
    (trial,) = Journal("autopytorch", "s", tmp_path).trials()
    assert (trial.value, trial.accuracy, trial.metric) == (0.95, 0.95, ACCURACY)
    assert trial.model == tmp_path / "trials" / "0000"


def test_an_old_ensemble_is_read(tmp_path):
    place = tmp_path / "0000" / "trial.json"
    place.parent.mkdir()
    place.write_text(json.dumps(OLD_ENSEMBLE), encoding="utf-8")
    (kept,) = Ensembles("s", tmp_path).stored()
    assert (kept.trial.value, kept.trial.text) == (0.96, "96.00%")
    assert "96.00%" in kept.sentence()


def test_old_figures_and_tables_are_read():
    assert phrase(OLD_BOARD) == "99.12%"
    old = TestResult.from_json(OLD_TEST)
    assert old.scored is None
    assert old.figures == {"test_accuracy": 0.99}
    assert RunConfig.of_record({"dataset": "mnist", "seed": 4}).metric == "accuracy"


@pytest.mark.parametrize("metric", [ACCURACY, LOG_LOSS, Metric("mine.py:f", "f", address="/x")])
def test_a_trial_comes_back_from_json_as_it_was(metric):
    scores = {"accuracy": 0.5, metric.name: 0.25}
    made = replace(a_trial(1, metric, scores), model=None)
    assert thaw(json.loads(json.dumps(asdict(made)))) == made


def test_a_name_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'log_loss'"):
        RunConfig(metric="logloss")


def test_an_own_metric_is_named_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunConfig(metric="mine.py:score").metric == f"{tmp_path}/mine.py:score"


def test_a_value_is_written_in_its_own_units():
    assert ACCURACY.text(0.97123) == "97.12%"
    assert LOG_LOSS.text(0.08312) == "0.0831"
    assert LOG_LOSS.phrase(0.08312) == "0.0831 log loss"
    assert Metric("m", "m").text(123456.0) == "1.235e+05"
    assert math.isclose(float(LOG_LOSS.text(0.0000123)), 0.0000123, rel_tol=1e-3)
