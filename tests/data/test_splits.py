import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.splits import stratified_folds, stratified_split
from pipeline_lib.errors import ConfigurationError

labels_strategy = (
    st.lists(st.integers(0, 9), min_size=2, max_size=300)
    .filter(lambda values: len(set(values)) < len(values))
    .map(lambda values: np.array(values, dtype=np.int64))
)
shares = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32 - 1)


@given(labels_strategy, shares, seeds)
def test_the_parts_are_disjoint_and_complete(labels, share, seed):
    train, validation = stratified_split(labels, share, seed)
    assert train.dtype == validation.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(labels)))


@given(labels_strategy, shares, seeds)
def test_every_class_is_in_proportion_and_in_both_parts(labels, share, seed):
    train, validation = stratified_split(labels, share, seed)
    for label in np.unique(labels):
        size = np.sum(labels == label)
        in_validation = np.sum(labels[validation] == label)
        assert abs(in_validation - size * share) < 1
        if size > 1:
            assert 0 < in_validation < size
        else:
            assert label in labels[train]


@given(st.lists(st.integers(20, 60), min_size=1, max_size=10), st.floats(0.05, 0.95), seeds)
def test_the_total_is_exact_where_the_classes_allow_it(sizes, share, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    _, validation = stratified_split(labels, share, seed)
    assert len(validation) == round(len(labels) * share)


def test_the_largest_remainders_are_rounded_up():
    labels = np.repeat([0, 1, 2, 3], [14, 18, 16, 12])  # at 0.1: 1.4, 1.8, 1.6, 1.2, in all 6
    _, validation = stratified_split(labels, 0.1, 0)
    assert np.bincount(labels[validation]).tolist() == [1, 2, 2, 1]


@given(labels_strategy, shares, seeds)
def test_the_same_seed_gives_the_same_split(labels, share, seed):
    first, again = stratified_split(labels, share, seed), stratified_split(labels, share, seed)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


@given(seeds, seeds)
def test_another_seed_gives_another_split(seed, other):
    labels = np.arange(600) % 10
    first, second = stratified_split(labels, 0.1, seed), stratified_split(labels, 0.1, other)
    assert np.array_equal(first[1], second[1]) == (seed == other)


def test_the_numbers_of_the_classes_do_not_matter():
    labels = np.arange(40) % 4
    _, validation = stratified_split(labels, 0.25, 0)
    _, renamed = stratified_split(labels * 7 + 3, 0.25, 0)
    assert np.array_equal(validation, renamed)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_empties_a_part_is_refused(share):
    with pytest.raises(ConfigurationError, match="validation_share: must be more than 0"):
        stratified_split(np.arange(10) // 2, share, 0)


def test_classes_of_one_image_each_leave_nothing_to_validate_with():
    with pytest.raises(ConfigurationError, match=r"validation_share: .*nothing to validate with"):
        stratified_split(np.arange(10), 0.5, 0)


def test_more_folds_than_images_are_refused():
    with pytest.raises(ConfigurationError, match=r"validation_folds: .*number of images"):
        stratified_folds(np.zeros(3, np.int64), 4, 0)
