"""From pictures to arrays: sizes and colours that follow from the data, what cannot be read, gc."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from pictured import CLASSES, folder, noise, of
from PIL import Image

from pipeline_lib.config import RunConfig
from pipeline_lib.data.decode import Look, Picture, decode
from pipeline_lib.data.source import check, expected, prepare
from pipeline_lib.data.sources.conversion import outdated
from pipeline_lib.data.stored_size import stored_shape
from pipeline_lib.errors import DataError, HomeError, RefusedImage
from pipeline_lib.files import acquire
from pipeline_lib.home import LOCK, RUN, Home
from pipeline_lib.run.gc import Policy, clean


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def shape_of(looked, grey=False, image_size=None, coloured=True):
    def read(_row, shape):
        pixels = np.zeros(shape, np.uint8)
        pixels[0] = 200 if coloured else 0
        return Picture(pixels, ())

    return stored_shape([Look(*size, grey) for size in looked], read, image_size)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(20, 30)] * 5, (20, 30)),  # of one size
        ([(128, 128)] * 5, (128, 128)),
        ([(129, 100)] * 5, (128, 128)),
        ([(20, 30), (30, 20)], (24, 24)),
        ([(100, 90), (640, 480), (50, 50)], (96, 96)),
        ([(3000, 4000), (4000, 3000)], (224, 224)),
        ([(4, 4), (5, 5)], (8, 8)),
    ],
)
def test_the_stored_size_follows_from_the_sizes(sizes, side):
    assert shape_of(sizes)[1:] == side
    assert shape_of(sizes, image_size="40") == (3, 40, 40)
    assert shape_of(sizes, image_size="40x60") == (3, 40, 60)


def test_pictures_are_grey_where_no_file_or_none_of_them_shows_a_colour():
    assert shape_of([(8, 8)] * 3, grey=True)[0] == 1
    assert shape_of([(8, 8)] * 3, coloured=False)[0] == 1
    assert shape_of([(8, 8)] * 3)[0] == 3


def test_training_and_prediction_decode_alike(home, tmp_path):
    root = tmp_path / "pictures"
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for at in range(10):
            picture = Image.fromarray(noise(100 * number + at, (20 + at, 15, 4)))
            picture.save(root / name / f"{at}.png")
    source = of(root, home)
    parts = source.examples(), source.test_set.unseal()
    stored = sorted(image.tobytes() for part in parts for image in part.images)
    shape = source.problem.inputs.shape
    assert stored == sorted(decode(path, shape).pixels.tobytes() for path in root.rglob("*.png"))


def spoilt(root: Path, count: int, *, whole_header: bool) -> Path:
    """200 pictures a class, some of which are cut short before or behind their header."""
    folder(root, each=200)
    for path in sorted((root / "owl").iterdir())[:count]:
        content = path.read_bytes()
        path.write_bytes(content[: 50 if whole_header else 10])
    return root


@pytest.mark.parametrize("whole_header", [False, True])
def test_a_few_that_cannot_be_read_are_left_out_and_named(whole_header, home, tmp_path):
    said: list[str] = []
    config = RunConfig(dataset=str(spoilt(tmp_path / "p", 5, whole_header=whole_header)))
    source = prepare(config, home, said.append)
    assert source.problem.train_size + source.problem.test_size == 595
    assert any("owl/000.png" in line for line in said)
    examples = source.examples()
    assert len(source.rows().keys) == len(examples) == source.problem.train_size
    owls = {noise(2000 + at, (8, 8)).tobytes() for at in range(200)}
    assert [image.tobytes() in owls for image in examples.images] == (
        examples.targets == 2
    ).tolist()
    assert prepare(config, home) == source


@pytest.mark.parametrize("whole_header", [False, True])
def test_more_of_them_are_refused_unless_one_says_so(whole_header, home, tmp_path):
    root = spoilt(tmp_path / "p", 7, whole_header=whole_header)
    with pytest.raises(DataError, match=r"owl/00"):
        of(root, home)
    source = of(root, home, skip_unreadable=True)
    assert source.problem.train_size + source.problem.test_size == 593


def test_links_inside_the_folder_are_followed_and_those_out_of_it_never(home, tmp_path):
    root = folder(tmp_path / "pictures", each=40)
    secret = tmp_path / "secret.png"
    Image.fromarray(noise(99999, (8, 8))).save(secret)
    (root / "cat" / "in.png").symlink_to(root / "cat" / "000.png")
    (root / "cat" / "out.png").symlink_to(secret)
    with pytest.raises(RefusedImage):
        of(root, home)
    source = of(root, home, skip_unreadable=True)
    parts = source.examples(), source.test_set.unseal()
    stored = [image.tobytes() for part in parts for image in part.images]
    assert noise(99999, (8, 8)).tobytes() not in stored
    assert len(stored) == 121


def test_a_full_disk_is_told_before_anything_is_decoded(home, tmp_path, monkeypatch):
    root = folder(tmp_path / "pictures")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 10**6))
    with pytest.raises(HomeError):
        of(root, home)
    assert not list((home.data).rglob("*.npy"))
    assert not list(home.data.glob(".staging*"))


def test_the_door_sees_what_was_added_since(home, tmp_path):
    config = RunConfig(dataset=str(folder(tmp_path / "pictures")))
    check(config, home)
    assert expected(config).train_size == 48
    folder(tmp_path / "pictures", start=20)
    assert expected(config).train_size == 96
    assert not home.root.exists()


def test_files_that_are_no_pictures_by_name_are_counted(home, tmp_path):
    root = folder(tmp_path / "pictures")
    (root / "README.txt").write_text("")
    (root / "cat" / "notes.txt").write_text("")
    (root / "cat" / ".DS_Store").write_text("")
    shutil.copytree(root / "owl", root / "cat" / ".thumbnails")
    said: list[str] = []
    source = prepare(RunConfig(dataset=str(root)), home, said.append)
    assert source.problem.train_size + source.problem.test_size == 60
    assert any(line.startswith("1 files") for line in said)


def test_gc_removes_arrays_of_data_that_changed_but_not_while_they_are_read(home, tmp_path):
    root = folder(tmp_path / "pictures")
    old = of(root, home)
    os.utime(old.directory / "problem.json", (0, 0))
    new, other = of(folder(root, start=20), home), of(folder(tmp_path / "others"), home)
    assert outdated(home) == [old.directory]
    study = home.study("tonight")
    study.mkdir(parents=True)
    (study / RUN).write_text(f'"{old.directory.name}"')
    lock = acquire(study / LOCK)
    policy = Policy(1, 0)
    assert any(
        each.skipped for each in clean(home, policy, dry_run=False) if "arrays" in each.study
    )
    assert old.is_whole()
    os.close(lock)
    (freed,) = [each for each in clean(home, policy, dry_run=True) if "arrays" in each.study]
    assert old.is_whole()
    assert freed.freed > 0
    clean(home, policy, dry_run=False)
    assert not old.directory.exists()
    assert new.is_whole()
    assert other.is_whole()
