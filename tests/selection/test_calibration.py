import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from torch.nn import functional as F

from pipeline_lib.selection.calibration import (
    BINS,
    expected_calibration_error,
    fit_temperature,
    reliability,
)


def honest(count, spread=2.0, seed=0):
    """Logits whose probabilities are true, and labels drawn from them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, (count, 5))
    probabilities = softmax(logits, axis=1)
    labels = (probabilities.cumsum(1) < generator.random((count, 1))).sum(1)
    return logits, np.minimum(labels, 4)


def test_the_error_by_hand():
    # Four images, two classes: sure by 0.9, 0.9, 0.9, 0.6; wrong on one of the first three.
    sure = np.array([0.9, 0.9, 0.9, 0.6])
    logits = np.log(np.stack([sure, 1 - sure], axis=1))
    bins = reliability(logits, np.array([0, 0, 1, 0]))
    filled = {round(b.high, 3): b for b in bins if b.count}
    assert len(bins) == BINS
    assert [b.count for b in filled.values()] == [1, 3]
    (last,) = [b for b in filled.values() if b.count == 3]
    assert (last.confidence, last.accuracy) == (pytest.approx(0.9), pytest.approx(2 / 3))
    assert expected_calibration_error(bins) == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.4)


def test_honest_probabilities_have_almost_no_error_and_a_temperature_of_one():
    logits, labels = honest(20_000)
    assert expected_calibration_error(reliability(logits, labels)) < 0.012
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_the_temperature_undoes_what_made_a_model_too_sure_or_too_modest(factor):
    logits, labels = honest(20_000)
    distorted = (factor * logits).astype(np.float32)
    temperature = fit_temperature(distorted, labels)
    assert temperature == pytest.approx(factor, rel=0.03)
    before = expected_calibration_error(reliability(distorted, labels))
    after = expected_calibration_error(reliability(distorted, labels, temperature))
    assert after < 0.012 < before


def test_the_temperature_is_the_one_of_least_loss():
    logits, labels = honest(500, spread=3.0)
    found = fit_temperature(logits, labels)

    def loss(temperature):
        return float(F.cross_entropy(torch.tensor(logits / temperature), torch.tensor(labels)))

    assert all(loss(found) <= loss(found * step) + 1e-9 for step in (0.8, 0.99, 1.01, 1.25))


def test_a_model_that_is_always_right_gets_a_temperature_all_the_same():
    labels = np.array([0, 1, 2])
    assert 0 < fit_temperature(10 * np.eye(3), labels) < 1


@given(
    arrays(np.float32, (7, 3), elements=st.floats(-200, 200, width=32)),
    arrays(np.int64, 7, elements=st.integers(0, 2)),
    st.floats(0.05, 20),
)
def test_every_image_is_in_one_bin_and_the_accuracy_stays(logits, labels, temperature):
    bins = reliability(logits, labels, temperature)
    assert sum(b.count for b in bins) == 7
    assert all(b.low < b.confidence <= b.high + 1e-9 for b in bins if b.count)
    assert 0 <= expected_calibration_error(bins) <= 1
    hits = sum(b.count * b.accuracy for b in bins)
    plain = reliability(logits, labels)
    if len(np.unique(logits)) == logits.size:
        assert hits == pytest.approx(sum(b.count * b.accuracy for b in plain))
