import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.sources.stored import write_parts
from pipeline_lib.data.splits import Split, stratified_folds, stratified_split
from pipeline_lib.data.store import digest
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home

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


@pytest.fixture
def split(tmp_path):
    """Of noise, as arrays in a home."""
    random = np.random.default_rng(0)
    parts = [
        (random.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8), np.arange(count) % 3)
        for count in (60, 9)
    ]
    directory = tmp_path / "home" / "data" / "arrays" / "noise"
    write_parts(directory, *parts)
    names = Classes(("a", "b", "c"))
    problem = Problem("noise", "noise", Image(1, 8, 8), names, 60, 9, digest(*parts))
    return Split(Catalogued(problem, directory), seed=1, share=0.2)


def test_a_split_crosses_processes_as_a_small_value_without_what_it_opened(split):
    opened = (split.examples, split.train, split.digest)
    assert len(pickle.dumps(split)) < 2000
    again = pickle.loads(pickle.dumps(split))
    assert vars(again).keys() == {"source", "seed", "share", "part", "metric"}
    assert again == split
    assert again.digest == opened[2]


def test_a_splits_digest_follows_the_data_and_the_rows(split):
    others = (replace(split, seed=2), replace(split, share=0.3), split.fold(0, 4), split.fold(1, 4))
    other_data = replace(split.problem, digest="other")
    changed = replace(split, source=replace(split.source, problem=other_data))
    assert len({each.digest for each in (split, *others, changed)}) == 6
    assert replace(split).digest == split.digest


def test_folds_divide_all_rows(split):
    held_out = np.concatenate([split.fold(number, 4).validation for number in range(4)])
    assert np.array_equal(np.sort(held_out), np.arange(60))


@pytest.mark.parametrize("part", [None, (1, 4)])
def test_a_split_is_read_from_its_json(split, part, tmp_path):
    home = Home(tmp_path / "home")
    whole = replace(split, part=part)
    known = json.loads(json.dumps(whole.as_json(home)))
    assert Split.from_json(known, home) == whole


@pytest.mark.parametrize("part", [None, (1, 4)])
def test_a_split_is_read_from_what_older_versions_wrote(mnist, test_home, part):
    arrays = f"data/arrays/mnist-{mnist.problem.digest[:12]}/search"
    known = {
        "dataset": "mnist",
        "digest": mnist.problem.digest,
        "shape": [1, 28, 28],
        "classes": list("0123456789"),
        "images": f"{arrays}/train_images.npy",
        "labels": f"{arrays}/train_labels.npy",
        "seed": 3,
        "validation_share": 0.2,
        "fold": part,
    }
    assert Split.from_json(json.loads(json.dumps(known)), test_home) == Split(mnist, 3, 0.2, part)


BEFORE = {
    "mnist": (
        "3568c97adc2be51e8eb772031975dd335c85b56d6196800b1223498ed4d05041",
        "4b1e51f6b7a4c5d09953d8515d8d0a1c5de84cc5700bd6f98357f2406f3baa9c",
        "b197b7ad342151ac20a26be1c54bce16d89b50faad81847aa369cf6bb6bdaddf",
        "a43ca9c85bbc8b81b6d5756114cdd6f991487fd947d5f47cd9e00b2bad696341",
    ),
    "small_mnist": (
        "7d5d1ce36a007836aea5f9503f9ee822a995ccbe9dbf8f188a3198528206ded2",
        "7f55834a57777b4f22b48b04bcf73f8abba8234b9bff8c37c52a80b8259bb96c",
        "e3588add6b1c9f7dcffd1b70affd1c05409705422c70c99121c893d1ae003aa5",
        "8d1d217b8189729c7ecbc52cec79e7dd11f577d2541167036bf7254c07286015",
    ),
}
"""Digests of the data, of two splits and of a fold, as commit 7c4bf34 computed them."""


@pytest.mark.parametrize("name", BEFORE)
def test_data_and_splits_are_those_of_before_there_were_problems(name, request):
    source = request.getfixturevalue(name)
    splits = Split(source, 0, 0.1), Split(source, 3, 0.2), Split(source, 0, 0.1).fold(1, 4)
    train, test = source.examples(), source.test_set.unseal()
    parts = [(each.images, each.targets) for each in (train, test)]
    assert digest(*parts) == BEFORE[name][0]
    assert (source.problem.digest, *(each.digest for each in splits)) == BEFORE[name]
