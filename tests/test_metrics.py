import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as published

from pipeline_lib.errors import ConfigurationError, TrialFailure
from pipeline_lib.metrics import ACCURACY, METRICS, Metric, as_json, find, probabilities

OF_LABELS = {
    "accuracy": published.accuracy_score,
    "balanced_accuracy": published.balanced_accuracy_score,
    "macro_f1": lambda *given, **more: published.f1_score(*given, average="macro", **more),
    "kappa": published.cohen_kappa_score,
}


@st.composite
def answered(draw, fewest=2):
    """Logits (N, classes), targets (N,) that hold every class, and weights (N,)."""
    classes = draw(st.integers(fewest, 4))
    size = draw(st.integers(2 * classes, 30))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = np.arange(size) % classes
    logits = np.round(generator.normal(size=(size, classes)), draw(st.integers(0, 3)))
    return logits, targets, generator.integers(1, 4, size)


@pytest.mark.parametrize("name", OF_LABELS)
@given(case=answered())
def test_metrics_of_labels_are_those_of_scikit_learn(name, case):
    logits, targets, weights = case
    metric, labels = METRICS[name], logits.argmax(1)
    assert metric.score(logits, targets) == pytest.approx(OF_LABELS[name](targets, labels))
    assert metric.weighted(logits, targets)(weights) == pytest.approx(
        OF_LABELS[name](targets, labels, sample_weight=weights)
    )


@given(answered())
def test_the_log_loss_is_that_of_scikit_learn(case):
    logits, targets, weights = case
    answers = probabilities(logits)
    metric = METRICS["log_loss"]
    assert metric.score(answers, targets) == pytest.approx(published.log_loss(targets, answers))
    assert metric.weighted(answers, targets)(weights) == pytest.approx(
        published.log_loss(targets, answers, sample_weight=weights)
    )


@given(answered(fewest=3))
def test_the_area_under_the_curve_is_that_of_scikit_learn_ties_included(case):
    logits, targets, weights = case
    answers = probabilities(logits)

    def area(**more):
        return published.roc_auc_score(targets, answers, multi_class="ovr", **more)

    metric = METRICS["roc_auc"]
    assert metric.score(answers, targets) == pytest.approx(area())
    found = metric.weighted(answers, targets)(weights)
    assert found == pytest.approx(area(sample_weight=weights))


@pytest.mark.parametrize("name", METRICS)
@given(case=answered())
def test_a_weight_is_so_many_copies(name, case):
    logits, targets, weights = case
    answers, rows = probabilities(logits), np.repeat(np.arange(len(targets)), weights)
    metric = METRICS[name]
    copied = metric.score(answers[rows], targets[rows])
    assert metric.weighted(answers, targets)(weights) == pytest.approx(copied)


@pytest.mark.parametrize("name", METRICS)
def test_perfect_answers_have_no_regret_and_worse_ones_more(name):
    metric, targets = METRICS[name], np.arange(12) % 3
    sure = np.eye(3)[targets]
    unsure, wrong = 0.5 * sure + np.full((12, 3), 0.5 / 3), np.roll(sure, 1, axis=1)
    assert metric.regret(metric.score(sure, targets)) == pytest.approx(0, abs=1e-12)
    regrets = [metric.regret(metric.score(each, targets)) for each in (sure, unsure, wrong)]
    assert regrets == sorted(regrets)
    assert regrets[2] > 0


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_the_regret_of_an_accuracy_is_its_share_of_errors_to_the_bit(hits, size):
    accuracy = min(hits, size) / size
    assert ACCURACY.regret(accuracy) == 1 - accuracy


def test_accuracy_is_always_among_the_scores():
    logits, targets = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), np.array([0, 1, 1])
    assert ACCURACY.scores(logits, targets) == {"accuracy": 2 / 3}
    found = METRICS["log_loss"].scores(logits, targets)
    assert found["accuracy"] == 2 / 3
    assert found["log_loss"] == pytest.approx(published.log_loss(targets, probabilities(logits)))


def test_answers_that_are_no_numbers_fail_a_trial_and_no_run():
    with pytest.raises(TrialFailure):
        METRICS["log_loss"].scores(np.array([[math.nan, 1.0]]), np.array([0]))


def test_a_class_that_is_not_there_counts_for_nothing():
    targets, sure = np.array([0, 0, 2, 2]), np.eye(3)[[0, 2, 2, 2]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = published.balanced_accuracy_score(targets, sure.argmax(1))
    assert METRICS["balanced_accuracy"].score(sure, targets) == expected == 0.75
    assert METRICS["macro_f1"].score(sure, targets) == pytest.approx((2 / 3 + 0.8) / 2)
    assert METRICS["roc_auc"].score(sure, targets) == pytest.approx(0.75)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="macro_f1") as refused:
        find("makro_f1")
    assert (refused.value.where, refused.value.value) == ("metric", "makro_f1")


def own(tmp_path, source):
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    return f"{path}:score"


RMS = """
import numpy as np

def score(answers, targets):
    return float(np.sqrt(np.mean((answers[np.arange(len(targets)), targets] - 1) ** 2)))

score.direction = "minimize"
score.needs = "probabilities"
"""


def test_an_own_metric_is_a_function_of_a_file(tmp_path):
    metric = find(own(tmp_path, RMS))
    metric.check(3)
    assert (metric.name, metric.direction, metric.perfect) == ("mine.py:score", "minimize", 0.0)
    answers, targets = np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0, 1])
    assert metric.score(answers, targets) == pytest.approx(math.sqrt((0.09 + 0.04) / 2))
    twice = metric.weighted(answers, targets)(np.array([2, 1]))
    assert twice == pytest.approx(math.sqrt((2 * 0.09 + 0.04) / 3))
    assert metric.regret(0.25) == 0.25
    assert Metric(**as_json(metric)) == metric


def test_to_have_an_own_metric_runs_nothing_of_its_file(tmp_path):
    address = own(tmp_path, "import not_there\ndef score(labels, targets):\n    return 1\n")
    metric = find(address)
    with pytest.raises(ConfigurationError, match=r"line 1.*not_there"):
        metric.check(2)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def score(labels, targets):\n    x = 1\n    return x / 0\n", "line 3: ZeroDivisionError"),
        ("def score(labels, targets):\n    return float('nan')\n", "line 1.*no finite number"),
        ("\ndef score(labels, targets):\n    return 'good'\n", "line 2.*no finite number"),
        ("def score(labels, targets):\n    return None\n", "line 1.*no finite number"),
        ("def score(labels, targets):\n    return 1.5\n", "line 1.*better than perfect"),
        ("def score(labels):\n    return 1\n", "line 1: TypeError"),
        ("def score(labels, targets)\n    return 1\n", "line 1: SyntaxError"),
        ("def other(labels, targets):\n    return 1\n", "defines no score"),
        ("def score(a, b):\n    return 1\nscore.direction = 'up'\n", "direction.*maximize"),
        ("def score(a, b):\n    return 1\nscore.perfect = 'all'\n", "perfect"),
        ("import sys\nsys.exit(3)\ndef score(a, b):\n    return 1\n", "line 2: SystemExit"),
    ],
)
def test_a_mistake_in_an_own_metric_is_one_line_with_file_and_line(tmp_path, source, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        find(own(tmp_path, source)).check(3)
    assert "mine.py" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_own_metric_whose_file_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"mine\.py"):
        find(f"{tmp_path / 'mine.py'}:score")


def test_an_own_metric_is_known_by_what_its_file_says(tmp_path):
    before = find(own(tmp_path, RMS))
    assert find(own(tmp_path, RMS)).identity == before.identity
    assert find(own(tmp_path, RMS + "\n# changed\n")).identity != before.identity
    assert METRICS["kappa"].identity == "kappa"


def test_an_own_metric_whose_lines_end_in_crlf_is_the_file_it_was(tmp_path):
    address = own(tmp_path, RMS)
    path = tmp_path / "mine.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    metric = find(address)
    metric.check(2)
