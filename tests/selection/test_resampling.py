import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline_lib.metrics import ACCURACY, METRICS, probabilities
from pipeline_lib.resampling import (
    ALPHA,
    RESAMPLES,
    bootstrap,
    bootstrap_interval,
    paired_counts,
    percentiles,
    permutation_test,
)
from pipeline_lib.statistics import Paired, compare_on_folds, holm, mcnemar

LOG_LOSS, MACRO_F1 = METRICS["log_loss"], METRICS["macro_f1"]


def models(size, skill=(2.0, 2.0), seed=0, classes=3):
    """Two models' logits (N, classes) on the same images, and the classes (N,)."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(classes, size=size)
    shared = generator.normal(size=(size, classes))
    logits = [
        each * np.eye(classes)[targets] + shared + generator.normal(size=(size, classes)) / 2
        for each in skill
    ]
    return logits, targets


def losses(logits, targets):
    return -np.log(probabilities(logits)[np.arange(len(targets)), targets])


def test_the_permutation_test_of_a_mean_is_that_of_scipy():
    (a, b), targets = models(60, (2.0, 1.8), seed=5)
    pair = probabilities(a), probabilities(b)
    found = permutation_test(LOG_LOSS, pair, targets, np.random.default_rng(0), 0.0005)
    expected = stats.permutation_test(
        (losses(a, targets), losses(b, targets)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).pvalue
    assert 0.005 < expected < 0.5
    assert found == pytest.approx(expected, abs=0.25 * expected)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_the_permutation_test_of_accuracies_is_mcnemars(only_a, only_b, seed):
    """Under exchange, how many of those they disagree on are a's is binomial: a closed form."""
    right_a = np.repeat([1, 0, 1, 0], [only_a, only_b, 20, 5])
    right_b = np.repeat([0, 1, 1, 0], [only_a, only_b, 20, 5])
    targets = np.zeros(len(right_a), int)
    pair = (np.eye(2)[1 - right_a], np.eye(2)[1 - right_b])
    found = permutation_test(ACCURACY, pair, targets, np.random.default_rng(seed), 0.001)
    expected = mcnemar(only_a, only_b)
    spread = np.sqrt(expected * (1 - expected) / 60)  # of one that ends early, about
    assert abs(found - expected) < max(5 * spread, 0.002)


@pytest.mark.parametrize(
    "metric", [LOG_LOSS, MACRO_F1, METRICS["roc_auc"]], ids=lambda metric: metric.name
)
def test_models_that_are_alike_are_shown_to_differ_as_seldom_as_alpha(metric):
    shown = 0
    for seed in range(200):
        (a, b), targets = models(40, seed=seed)
        pair = probabilities(a), probabilities(b)
        shown += permutation_test(metric, pair, targets, np.random.default_rng(seed), 0.5) < ALPHA
    assert stats.binomtest(shown, 200, ALPHA).pvalue > 0.001
    assert shown > 0


@pytest.mark.parametrize(("pairs", "tries"), [(1, 1), (1, 200), (6, 1)])
def test_a_corrected_level_can_be_reached(pairs, tries):
    (a, b), targets = models(400, (4.0, 0.5))
    more = {f"m{n}": a for n in range({1: 0, 6: 2}[pairs])}
    found = Paired({"a": a, "b": b, **more}, targets, MACRO_F1, tries={"b": tries}).all_pairs()
    assert len(found) == pairs
    first = next(c for c in found if {c.a, c.b} == {"a", "b"})
    assert first.shown
    assert (first.a, first.b) == ("a", "b")
    assert first.p * tries < ALPHA
    assert holm([c.p for c in found]) == [c.adjusted_p for c in found]


def test_a_smaller_loss_is_better_and_a_difference_is_by_how_much():
    (a, b), targets = models(300, (1.0, 3.0))
    (found,) = Paired({"worse": a, "better": b}, targets, LOG_LOSS).all_pairs()
    assert (found.a, found.b) == ("better", "worse")
    expected = losses(a, targets).mean() - losses(b, targets).mean()
    assert found.difference == pytest.approx(expected)
    assert found.interval[0] < found.difference < found.interval[1]
    assert found.shown
    assert "log loss" in found.sentence()
    assert f"{expected:.4f}" in found.sentence()


def test_the_bootstrap_of_a_mean_is_that_of_scipy():
    (a, b), targets = models(300, (2.0, 1.5), classes=1 + 1)
    pair = probabilities(a), probabilities(b)
    better, worse = bootstrap(LOG_LOSS, pair, targets, np.random.default_rng(0))
    assert better.shape == (RESAMPLES,)
    gain = losses(b, targets) - losses(a, targets)
    strata = [gain[targets == label] for label in (0, 1)]
    sizes = [len(each) for each in strata]

    def mean(x, y, axis):
        return (x.mean(axis) * sizes[0] + y.mean(axis) * sizes[1]) / sum(sizes)

    expected = stats.bootstrap(
        strata, mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert percentiles(worse - better) == pytest.approx(tuple(expected), abs=0.02)


def test_the_bootstrap_of_accuracies_is_that_of_their_counts():
    (a, b), targets = models(500, (2.0, 1.2))
    first, second = bootstrap(ACCURACY, (a, b), targets, np.random.default_rng(0))
    table = paired_counts(a.argmax(1) == targets, b.argmax(1) == targets, targets)
    expected = bootstrap_interval(table, np.random.default_rng(1))
    assert percentiles(first - second) == pytest.approx(expected, abs=0.006)


def test_what_is_called_detectable_is_shown_in_four_of_five_cases():
    """The normal approximation: shift one model's losses by it, and count."""
    (a, b), targets = models(200, (2.0, 2.0), seed=3)
    (found,) = Paired({"a": a, "b": b}, targets, LOG_LOSS).all_pairs()
    apart = losses(a, targets) - losses(b, targets)
    shifted = apart - apart.mean() + found.detectable
    generator = np.random.default_rng(0)
    shown = [
        stats.ttest_1samp(generator.choice(shifted, len(shifted)), 0).pvalue < ALPHA
        for _ in range(500)
    ]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.08)


def test_folds_of_a_loss_favour_the_smaller_one():
    values = {"worse": (0.4, 0.5, 0.45), "better": (0.2, 0.31, 0.24)}
    (found,) = compare_on_folds(values, LOG_LOSS)
    assert (found.a, found.b) == ("better", "worse")
    assert found.differences == pytest.approx((0.2, 0.19, 0.21))
    assert "in log loss" in found.sentence()


def test_the_same_seed_compares_alike():
    (a, b), targets = models(100, (2.0, 1.9))
    once, again = (Paired({"a": a, "b": b}, targets, MACRO_F1, 7).all_pairs() for _ in range(2))
    assert once == again
