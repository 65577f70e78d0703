import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as published
from statsmodels.stats.multitest import multipletests

from pipeline_lib.resampling import ALPHA, bootstrap_interval, paired_counts
from pipeline_lib.statistics import (
    POWER,
    Comparison,
    Paired,
    detectable_difference,
    holm,
    mcnemar,
    power,
)


def answers(table):
    """Labels and two models' rightness that give this table of (class, outcome) counts."""
    outcomes = [
        (label, outcome)
        for label, counts in enumerate(table)
        for outcome, n in enumerate(counts)
        for _ in range(n)
    ]
    labels, outcome = np.array(outcomes).T
    return labels, (outcome < 2), (outcome % 2 == 0)


def compare_all(right, labels, seed=0):
    """Comparisons of models that answer these images right, and others with the next class."""
    classes = labels.max() + 2
    answers = {
        name: np.eye(classes)[np.where(each, labels, labels + 1)] for name, each in right.items()
    }
    return Paired(answers, labels, seed=seed).all_pairs()


def test_mcnemar_is_the_exact_test_of_statsmodels():
    for only_a, only_b in [(0, 0), (1, 0), (10, 2), (59, 6), (150, 86), (7, 7)]:
        expected = published([[794, only_a], [only_b, 570]], exact=True).pvalue
        assert mcnemar(only_a, only_b) == pytest.approx(expected)


def test_mcnemar_on_published_examples():
    # Agresti, Categorical Data Analysis, table 10.1: approval of the prime minister twice.
    assert mcnemar(150, 86) == pytest.approx(3.7e-5, rel=0.02)
    # Siegel's sign test, two-sided, of 10 against 2 (table D: 0.019 one-sided).
    assert mcnemar(10, 2) == pytest.approx(0.03857, abs=1e-5)


def test_holm_on_published_p_values():
    # Holm's own procedure worked in statsmodels' reference tests and by hand.
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm([]) == []


@settings(max_examples=10)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_that_of_statsmodels(p):
    # statsmodels collects garbage at every call: examples are few.
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p):
    adjusted = holm(p)
    assert all(raw <= new <= 1 for raw, new in zip(p, adjusted, strict=True))
    order = np.argsort(p, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


tables = st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=6).filter(
    lambda rows: sum(map(sum, rows)) > 0
)


@given(tables)
def test_counts_are_by_class_and_outcome(table):
    labels, right_a, right_b = answers(table)
    counted = paired_counts(right_a, right_b, labels)
    assert counted.tolist() == [list(row) for row in table[: len(counted)]]
    assert not np.any(table[len(counted) :])


@given(tables, st.integers(0, 2**32 - 1))
def test_an_interval_is_ordered_possible_and_turns_round_with_the_models(table, seed):
    counts = np.array(table)
    low, high = bootstrap_interval(counts, np.random.default_rng(seed), resamples=500)
    only_a, only_b = counts[:, 1].sum(), counts[:, 2].sum()
    assert -1 <= low <= high <= 1
    if only_b == 0:
        assert low >= 0
    if only_a == 0:
        assert high <= 0


@given(tables)
def test_comparing_finds_the_better_one_whichever_comes_first(table):
    labels, right_a, right_b = answers(table)
    (one,) = compare_all({"x": right_a, "y": right_b}, labels, seed=0)
    (other,) = compare_all({"y": right_b, "x": right_a}, labels, seed=0)
    assert one.difference == other.difference >= 0
    assert one.p == other.p
    assert one.interval[0] <= one.difference + 1e-9
    assert one.difference <= one.interval[1] + 1e-9
    if right_a.sum() != right_b.sum():
        assert (one.a, one.b) == (other.a, other.b)
        assert one == other


def test_the_interval_equals_one_that_draws_image_by_image():
    table = [(90, 8, 2, 0), (180, 12, 5, 3)]
    labels, right_a, right_b = answers(table)
    generator = np.random.default_rng(0)
    gain = right_a.astype(int) - right_b.astype(int)
    strata = [np.flatnonzero(labels == label) for label in (0, 1)]
    draws = [
        np.mean(np.concatenate([gain[generator.choice(s, len(s))] for s in strata]))
        for _ in range(4000)
    ]
    plain = np.quantile(draws, (0.025, 0.975))
    fast = bootstrap_interval(np.array(table), np.random.default_rng(1))
    assert fast == pytest.approx(plain, abs=0.004)


@pytest.mark.parametrize(
    ("size", "wrong"),
    [(1000, (0.03, 0.05, 0.02)), (6000, (0.004, 0.004, 0.006)), (6000, (0.012, 0.006, 0.01))],
)
def test_intervals_cover_the_true_difference(size, wrong):
    """Of 2,000 simulated validations, 93 to 97 % of the intervals hold the truth."""
    only_a, only_b, none = wrong
    # Three classes, the last one hard: the truth differs between the strata.
    factors, sizes = np.array([0.5, 1.0, 2.0]), [size // 2, size // 4, size // 4]
    generator = np.random.default_rng(7)
    wrong_somewhere = only_a + only_b + none
    probabilities = [[1 - wrong_somewhere * f, only_a * f, only_b * f, none * f] for f in factors]
    truth = sum(n * (c[1] - c[2]) for n, c in zip(sizes, probabilities, strict=True)) / sum(sizes)
    held = 0
    for _ in range(2000):
        table = np.array(
            [generator.multinomial(n, c) for n, c in zip(sizes, probabilities, strict=True)]
        )
        low, high = bootstrap_interval(table, generator, resamples=400)
        held += low <= truth <= high
    assert 0.93 <= held / 2000 <= 0.97


@pytest.mark.parametrize("disagreement", [0.0, 0.004, 0.02])
def test_what_is_called_detectable_is_shown_in_four_of_five_cases(disagreement):
    size = 6000
    difference = detectable_difference(size, disagreement)
    apart = max(disagreement, difference)
    assert power(size, apart, difference) == pytest.approx(POWER, abs=0.01)
    generator = np.random.default_rng(3)
    shares = [1 - apart, (apart + difference) / 2, max((apart - difference) / 2, 0)]
    drawn = generator.multinomial(size, shares, 1000)
    shown = [a > b and mcnemar(a, b) < ALPHA for _, a, b in drawn]
    assert np.mean(shown) == pytest.approx(POWER, abs=0.04)


def test_more_images_show_smaller_differences_and_stricter_levels_larger_ones():
    few, many = detectable_difference(1000, 0.02), detectable_difference(10_000, 0.02)
    assert many < few
    assert detectable_difference(1000, 0.02, alpha=ALPHA / 10) > few
    assert detectable_difference(5, 0.5) == 1.0  # five heads in a row are no evidence


def comparison(**changed):
    values = {
        "a": "Optuna #41",
        "b": "Auto-PyTorch #7",
        "difference": 0.0062,
        "interval": (0.0031, 0.0094),
        "p": 0.0001,
        "adjusted_p": 0.0002,
        "detectable": 0.003,
    }
    return Comparison(**{**values, **changed})


def test_a_difference_in_words():
    assert comparison().sentence() == (
        "Optuna #41 is significantly better than Auto-PyTorch #7 by 0.62 points, "
        "95% CI 0.31–0.94, p = 0.0002"
    )
    assert (
        comparison(a="champion v3")
        .sentence()
        .startswith("Champion v3 is significantly better than")
    )
    assert comparison(adjusted_p=1e-9).sentence().endswith("p < 0.0001")


@pytest.mark.parametrize(
    "changed", [{"adjusted_p": 0.05}, {"interval": (-0.0001, 0.0094)}, {"interval": (0.0, 0.01)}]
)
def test_no_difference_in_words(changed):
    said = comparison(**changed).sentence()
    assert said.startswith(
        "No significant difference between Optuna #41 and Auto-PyTorch #7 (+0.62"
    )
    assert said.endswith("minimum detectable difference 0.30 points")


def test_three_models_are_three_pairs_corrected_together():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 2000)
    shares = {"a": 0.9, "b": 0.92, "c": 0.97}
    right = {name: generator.random(2000) < share for name, share in shares.items()}
    found = compare_all(right, labels, seed=0)
    assert {frozenset((c.a, c.b)) for c in found} == {
        frozenset(pair) for pair in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    assert [c.adjusted_p for c in found] == holm([c.p for c in found])
    assert found == compare_all(right, labels, seed=0)
    assert compare_all({"a": right["a"]}, labels, seed=0) == ()
