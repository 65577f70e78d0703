"""A user's own pictures that cannot be: one clear line, exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictured import folder, module, noise, of, table
from PIL import Image
from test_bad_input import png, refused

from pipeline_lib.home import Home

COLUMNS = ["--image-column", "file", "--target", "kind"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def empty(root):
    root.mkdir()


def classes_without_pictures(root):
    (root / "cat").mkdir(parents=True)


def one_class(root):
    folder(root)
    for name in ("dog", "owl"):
        (root / name).rename(root.parent / name)


def a_class_with_one(root):
    folder(root)
    for path in sorted((root / "owl").iterdir())[1:]:
        path.unlink()


def a_bomb(root):
    folder(root, each=60)
    (root / "cat" / "bomb.png").write_bytes(png(60_000, 60_000))


def one_pixel(root):
    folder(root, each=60)
    Image.new("L", (1, 1)).save(root / "dog" / "pixel.png")


def a_link_out(root):
    folder(root, each=60)
    (root / "owl" / "out.png").symlink_to("/etc/passwd")


def a_linked_folder(root):
    folder(root)
    (root.parent / "other").mkdir()
    (root / "fox").symlink_to(root.parent / "other")


def many_unreadable(root):
    folder(root)
    (root / "owl" / "000.png").write_bytes(b"no picture")


def an_unknown_class_in_the_test(root):
    folder(root / "train")
    folder(root / "test")
    (root / "test" / "owl").rename(root / "test" / "fox")


def no_training_part(root):
    folder(root / "val")
    folder(root / "test")


def a_folder_beside_parts(root):
    folder(root / "train")
    folder(root / "more")


FOLDERS = {
    empty: "holds no labelled pictures",
    classes_without_pictures: "holds no labelled pictures",
    one_class: "has one class, got 'cat'",
    a_class_with_one: "one picture, got 'owl'",
    a_bomb: "bomb.png",
    one_pixel: "pixel.png",
    a_link_out: "out.png",
    a_linked_folder: "fox",
    many_unreadable: "1 of 60",
    an_unknown_class_in_the_test: "got 'fox'",
    no_training_part: "nothing to learn from",
    a_folder_beside_parts: "got 'more'",
}


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_folders(make, home, tmp_path, monkeypatch, capsys):
    make(tmp_path / "pictures")
    command = ["run", str(tmp_path / "pictures"), "--home", str(home)]
    line = refused(command, monkeypatch, capsys, tmp_path)
    assert str(tmp_path / "pictures") in line
    assert FOLDERS[make] in line


OPTIONS = {
    "path-absent": (["./nowhere"], ["dataset", "is not there", "nowhere"]),
    "file-of-no-kind": (["./notes.txt"], ["dataset", "is of no known kind"]),
    "python-without-function": (["./mine.py"], ["mine.py:FUNCTION"]),
    "target-of-a-folder": (["./pictures", "--target", "kind"], ["target", "folder", "leave it"]),
    "group-by-no-regex": (["./pictures", "--group-by", "a("], ["group_by", "'a('"]),
    "group-by-no-group": (["./pictures", "--group-by", "abc"], ["group_by", "has no group"]),
    "image-size": (["./pictures", "--image-size", "big"], ["image_size", "'big'", "96"]),
    "image-size-of-mnist": (["mnist", "--image-size", "32"], ["image_size", "catalogue"]),
    "test-share": (["./pictures", "--test-share", "1"], ["test_share"]),
    "problem": (["./pictures", "--problem", "../x"], ["problem", "'../x'"]),
    "problem-of-the-catalogue": (["./pictures", "--problem", "mnist"], ["problem", "'mnist'"]),
    "test-data-absent": (["./pictures", "--test-data", "./no"], ["test_data", "is not there"]),
    "test-data-of-another-kind": (["./pictures", "--test-data", "./rows.csv"], ["test_data"]),
    "torchvision-without-root": (["CIFAR100"], ["data_root", "is missing"]),
    "torchvision-of-nothing": (["CIFAR100", "--data-root", "./pictures"], ["CIFAR100"]),
    "target-missing": (["./rows.csv", "--image-column", "file"], ["target", "columns file, kind"]),
    "target-unknown": (
        ["./rows.csv", "--image-column", "file", "--target", "knd"], ["target", "did you mean"],
    ),
    "images-elsewhere": (["./rows.csv", *COLUMNS, "--image-root", "."], ["60 of 60", "cat/000"]),
    "images-out": (["./rows.csv", *COLUMNS, "--image-root", "./pictures/cat"], ["60 of 60"]),
    "paths-up": (["./up.csv", *COLUMNS], ["leads out", "../a.png"]),
    "paths-from-the-root": (["./root.csv", *COLUMNS], ["leads out", "/etc/passwd"]),
    "two-deciding": (
        ["./rows.csv", *COLUMNS, "--group-column", "kind", "--time-column", "kind"], ["time_col"],
    ),
    "time": (["./rows.csv", *COLUMNS, "--time-column", "kind"], ["rows.csv:2", "'cat'"]),
    "split": (["./rows.csv", *COLUMNS, "--split-column", "kind"], ["rows.csv:2", "'cat'"]),
    "python-raises": (["./mine.py:raises"], ["mine.py, line 26", "KeyError"]),
    "python-absent": (["./mine.py:absent"], ["mine.py", "defines no absent"]),
    "python-syntax": (["./broken.py:load"], ["broken.py, line 2", "SyntaxError"]),
    "python-no-data": (["./mine.py:nothing"], ["mine.py", "is no data", "'int'"]),
    "python-one-class": (["./mine.py:one"], ["has one class"]),
    "npz-none": (["./empty.npz"], ["empty.npz", "X and y"]),
    "npz-damaged": (["./damaged.npz"], ["damaged.npz"]),
    "npz-flat": (["./flat.npz"], ["flat.npz", "holds no pictures"]),
    "npz-numbers": (["./numbers.npz"], ["numbers.npz", "number to predict"]),
    "npz-several": (["./several.npz"], ["several.npz", "one class a picture"]),
    "npz-pixels": (["./pixels.npz"], ["pixels.npz", "unusual pixels"]),
    "csv-empty": (["./empty.csv", *COLUMNS], ["empty.csv"]),
    "csv-gap": (["./gap.csv", *COLUMNS], ["gap.csv:3", "nothing in kind"]),
    "csv-numbers": (["./numbers.csv", *COLUMNS], ["numbers.csv", "60 different numbers"]),
    "csv-two-labels": (["./two.csv", *COLUMNS], ["two.csv:3", "'owl'"]),
    "parquet-no": (["./no.parquet", *COLUMNS], ["no.parquet"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with good and bad data of every kind."""
    place = tmp_path_factory.mktemp("bad")
    table(place / "pictures").rename(place / "rows.csv")
    module(place)
    (place / "notes.txt").write_text("")
    (place / "broken.py").write_text("def load():\n    return (\n")
    images = np.stack([noise(number, (8, 8)) for number in range(60)])
    three, numbers = np.arange(60) % 3, np.arange(60) / 7
    np.savez(place / "empty.npz", a=three)
    (place / "damaged.npz").write_bytes(b"PK no")
    np.savez(place / "flat.npz", X=images.reshape(60, 64), y=three)
    np.savez(place / "numbers.npz", X=images, y=numbers)
    np.savez(place / "several.npz", X=images, y=np.eye(60)[:, :3])
    np.savez(place / "pixels.npz", X=images - 100.0, y=three)
    (place / "empty.csv").write_text("")
    (place / "gap.csv").write_text("file,kind\na.png,cat\nb.png,\n")
    rows = "".join(f"{number}.png,{number}.5\n" for number in range(60))
    (place / "numbers.csv").write_text(f"file,kind\n{rows}")
    (place / "two.csv").write_text("file,kind\na.png,cat\na.png,owl\n")
    for name, path in (("up", "../a.png"), ("root", "/etc/passwd")):
        (place / f"{name}.csv").write_text(
            f"file,kind\n{path},cat\nb.png,cat\nc.png,owl\nd.png,owl\n"
        )
    (place / "no.parquet").write_bytes(b"PAR1")
    return place


@pytest.mark.parametrize("case", OPTIONS)
def test_options_and_files(case, place, home, tmp_path, monkeypatch, capsys):
    command, words = OPTIONS[case]
    before = sorted(place.rglob("*"))
    monkeypatch.chdir(place)
    line = refused(["run", *command, "--home", str(home)], monkeypatch, capsys, tmp_path)
    for word in words:
        assert word in line
    assert [path for path in sorted(place.rglob("*")) if "__pycache__" not in path.parts] == before


def test_the_same_name_with_other_classes(home, tmp_path, monkeypatch, capsys):
    of(folder(tmp_path / "a" / "train"), Home(home))
    folder(tmp_path / "b" / "train")
    (tmp_path / "b" / "train" / "owl").rename(tmp_path / "b" / "train" / "fox")
    command = ["run", str(tmp_path / "b" / "train"), "--home", str(home)]
    line = refused(command, monkeypatch, capsys, tmp_path)
    assert "'train'" in line
    assert "fox, owl" in line
    assert "--problem NAME" in line
