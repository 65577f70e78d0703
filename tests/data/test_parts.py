"""Which part a row is in: by a hash that no other row changes, by group, time, column or folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictured import CLASSES, EACH, TABLE, folder, noise, of, table
from PIL import Image

from pipeline_lib.config import RunConfig
from pipeline_lib.data.rows import Rows, divided, drawn, folds, held_out
from pipeline_lib.data.source import prepare
from pipeline_lib.data.splits import Split
from pipeline_lib.errors import ConfigurationError, DataError
from pipeline_lib.home import Home
from pipeline_lib.selection.comparison import LINEAGE_TAG, SPLIT_TAG, never_trained_on


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def rows_of(keys, contents=None, chosen=None, order=()):
    keys = np.asarray(keys, np.uint64)
    return Rows(
        keys=keys,
        contents=keys if contents is None else np.asarray(contents, np.uint64),
        chosen=np.zeros(len(keys), bool) if chosen is None else np.asarray(chosen),
        order=np.asarray(order, np.int64),
    )


def parts_of(source, seed=0, share=0.2):
    """The part of every picture, by content."""
    split, examples = Split(source, seed, share), source.examples()
    found = {image.tobytes(): "test" for image in source.test_set.unseal().images}
    for part in ("train", "validation"):
        for row in getattr(split, part):
            found[examples.images[row].tobytes()] = part
    return found


def test_draws_are_even_and_differ_by_seed_and_purpose():
    keys = np.arange(20_000, dtype=np.uint64)
    some = drawn(keys, 0, "test")
    assert 0 <= some.min() < some.max() < 1
    assert np.abs(np.histogram(some, 10, (0, 1))[0] - 2000).max() < 200
    for other in (drawn(keys, 1, "test"), drawn(keys, 0, "validation")):
        assert abs(np.corrcoef(some, other)[0, 1]) < 0.03


def test_draws_are_the_same_for_ever():
    """Another rule would move the rows of everybody's data."""
    known = drawn(np.array([0, 1, 2**63], np.uint64), 0, "test")
    assert known.tolist() == pytest.approx(KNOWN, abs=1e-12)


KNOWN = [0.5072062080398531, 0.5402116148579242, 0.1382040705342108]

keys_and_labels = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=8, max_size=120
).map(lambda pairs: tuple(map(np.array, zip(*pairs, strict=True))))


@given(keys_and_labels, st.floats(0.05, 0.9), st.integers(0, 2**32 - 1))
def test_groups_stay_whole_and_every_class_is_learned(pairs, share, seed):
    keys, labels = pairs
    rows = rows_of(keys)
    out = held_out(rows, labels, share, seed, "test")
    for key in np.unique(keys):
        assert len(set(out[keys == key])) == 1
    assert set(labels) == set(labels[~out])


@given(keys_and_labels, keys_and_labels, st.floats(0.05, 0.5), st.integers(0, 2**32 - 1))
def test_rows_that_come_move_none_that_were_there(pairs, more, share, seed):
    (keys, labels), (others, other_labels) = pairs, more
    whole = rows_of(np.concatenate([keys, others])), np.concatenate([labels, other_labels])
    before = held_out(rows_of(keys), labels, share, seed, "test")
    after = held_out(*whole, share, seed, "test")[: len(keys)]
    low = drawn(whole[0].keys, seed, "test") < share
    moved = before != after
    assert low[: len(keys)][moved].all()
    if set(labels) <= set(labels[~low[: len(keys)]]) and set(whole[1]) <= set(whole[1][~low]):
        assert not moved.any()  # no class needed a row of its test part


@given(keys_and_labels, st.integers(2, 5), st.integers(0, 99))
def test_folds_are_even_and_keep_groups_whole(pairs, count, seed):
    keys, labels = pairs
    found = folds(rows_of(keys), labels, count, seed)
    for key in np.unique(keys):
        assert len(set(found[keys == key])) == 1
    groups = np.bincount([found[keys == key][0] for key in np.unique(keys)], minlength=count)
    assert groups.max() - groups.min() <= 1


def test_copies_in_other_groups_leave_the_training_part():
    keys, labels = np.arange(200), np.arange(200) % 2
    rows = rows_of(keys, contents=keys // 2)
    train, validation = divided(rows, labels, 0.3, 0, None)
    assert not set(rows.contents[train]) & set(rows.contents[validation])
    assert len(train) + len(validation) < 200
    train, validation = divided(rows, labels, 0.3, 0, (1, 4))
    assert not set(rows.contents[train]) & set(rows.contents[validation])


def test_a_share_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigurationError):
        divided(rows_of([1, 1]), np.array([0, 1]), 0.5, 0, None)


def test_five_nights_move_no_picture(home, tmp_path):
    """And a champion of the first night may be compared on the last night's validation rows."""
    root, known, splits = tmp_path / "pictures", {}, []
    for night in range(5):
        folder(root, each=EACH, start=night * EACH)
        source = of(root, home)
        found = parts_of(source)
        assert len(found) == (night + 1) * EACH * len(CLASSES)
        assert {content: found[content] for content in known} == known
        known = found
        splits.append(Split(source, 0, 0.2))
    assert set(known.values()) == {"train", "validation", "test"}
    first, last = splits[0], splits[-1]
    tags = {SPLIT_TAG: first.digest, LINEAGE_TAG: first.lineage}
    assert first.digest != last.digest
    assert never_trained_on(tags, last)
    for other in (replace(last, seed=1), replace(last, share=0.3), last.fold(0, 3)):
        assert not never_trained_on(tags, other)
    elsewhere = Split(of(root, home, test_share=0.3), 0, 0.2)
    assert not never_trained_on(tags, elsewhere)


def test_names_and_places_of_files_decide_nothing(home, tmp_path):
    before = of(folder(tmp_path / "pictures"), home)
    for number, path in enumerate(sorted((tmp_path / "pictures").rglob("*.png"))):
        path.rename(path.with_name(f"renamed-{999 - number}.png"))
    after = of(tmp_path / "pictures", Home(tmp_path / "other"))
    assert after.problem == before.problem
    assert Split(after, 0, 0.2).digest == Split(before, 0, 0.2).digest


def test_another_seed_is_another_division(home, tmp_path):
    root = folder(tmp_path / "pictures")
    assert parts_of(of(root, home)) != parts_of(of(root, home, split_seed=1))


def test_folders_of_parts_are_obeyed_and_copies_of_test_pictures_left_out(home, tmp_path):
    root = tmp_path / "pictures"
    for at, part in enumerate(("Train", "valid", "test")):
        folder(root / part, start=at * EACH)
    copied = root / "test" / "cat" / "040.png"
    shutil.copy(copied, root / "Train" / "cat" / "copy.png")
    shutil.copy(root / "valid" / "dog" / "020.png", root / "Train" / "dog" / "copy.png")
    said: list[str] = []
    source = prepare(RunConfig(dataset=str(root)), home, said.append)
    found = parts_of(source)
    assert sorted(found.values()) == sorted(EACH * 3 * ["train", "validation", "test"])
    assert any(line.startswith("1 pictures are copies of test pictures") for line in said)
    assert Split(source, 0, 0.2).lineage == ""


def test_files_for_validation_and_test(home, tmp_path):
    roots = [folder(tmp_path / name, start=at * EACH) for at, name in enumerate(("a", "v", "t"))]
    source = of(roots[0], home, validation_data=str(roots[1]), test_data=str(roots[2]))
    assert source.problem.test_size == len(Split(source, 0, 0.2).validation) == EACH * 3
    with pytest.raises(DataError):
        folder(tmp_path / "v" / "train")
        folder(tmp_path / "v" / "test")
        for name in CLASSES:
            shutil.rmtree(tmp_path / "v" / name)
        of(roots[0], home, validation_data=str(roots[1]))


def grouped(root: Path) -> Path:
    """Four pictures of each of 40 objects."""
    for number in range(40):
        directory = root / CLASSES[number % 2]
        directory.mkdir(parents=True, exist_ok=True)
        for view in range(4):
            picture = Image.fromarray(noise(10 * number + view, (8, 8)))
            picture.save(directory / f"object{number}-{view}.png")
    return root


def objects_of(found):
    names = {noise(10 * n + view, (8, 8)).tobytes(): n for n in range(40) for view in range(4)}
    parts: dict[int, set[str]] = {}
    for content, part in found.items():
        parts.setdefault(names[content], set()).add(part)
    return parts


def test_groups_by_a_pattern_stay_in_one_part(home, tmp_path):
    root = grouped(tmp_path / "pictures")
    plain = objects_of(parts_of(of(root, home)))
    whole = objects_of(parts_of(of(root, home, group_by=r"object(\d+)")))
    assert max(map(len, plain.values())) > 1
    assert all(len(parts) == 1 for parts in whole.values())
    assert set().union(*whole.values()) == {"train", "validation", "test"}


def test_groups_of_a_column_stay_in_one_part(home, tmp_path):
    groups = [f"g{number // 5}" for number in range(60)]
    path = table(tmp_path / "pictures", group=groups)
    source = of(path, home, **TABLE, group_column="group")
    keys = source.rows().keys
    split = Split(source, 0, 0.3)
    assert not set(keys[split.train]) & set(keys[split.validation])
    assert len(set(keys)) < 12


def test_the_latest_rows_are_for_the_test(home, tmp_path):
    days = [f"2026-01-{1 + number % 30:02}" for number in range(60)]
    path = table(tmp_path / "pictures", day=days)
    source = of(path, home, **TABLE, time_column="day", test_share=0.2)
    order, split = source.rows().order, Split(source, 0, 0.25)
    assert source.problem.test_size == 12
    assert order.max() == 23  # of thirty days the last six are sealed
    assert order[split.train].max() < order[split.validation].min()
    assert split.lineage == ""
    assert np.array_equal(np.unique(order[split.fold(3, 4).validation]), np.arange(18, 24))


def test_a_column_of_parts_is_obeyed(home, tmp_path):
    parts = ["train", "train", "Val", "test", "train"] * 12
    source = of(table(tmp_path / "pictures", part=parts), home, **TABLE, split_column="part")
    split = Split(source, 0, 0.2)
    assert (len(split.train), len(split.validation), source.problem.test_size) == (36, 12, 12)


def test_a_split_of_own_pictures_is_read_from_its_json(home, tmp_path):
    split = Split(of(folder(tmp_path / "pictures"), home), 3, 0.25)
    known = json.loads(json.dumps(split.as_json(home)))
    again = Split.from_json(known, home)
    assert again == split
    assert (again.digest, again.lineage) == (split.digest, split.lineage)
