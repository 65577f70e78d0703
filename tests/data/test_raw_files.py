import hashlib
from dataclasses import replace

import numpy as np
import pytest

from pipeline_lib.data.sources.idx import check_files, idx_header, read
from pipeline_lib.errors import DataError


def damage(content: bytes, kind: str) -> bytes:
    if kind == "empty":
        return b""
    if kind == "cut":
        return content[:-5]
    if kind == "long":
        return content + b"\0"
    if kind == "magic":
        return b"\x1f\x8b" + content[2:]
    return content[:7] + bytes([content[7] + 1]) + content[8:]  # "shape"


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("empty", r"must begin with the idx magic 0000080\d, got ''"),
        ("cut", r"is cut short: must have \d+ bytes, got \d+"),
        ("long", r"is too long: must have \d+ bytes, got \d+"),
        ("magic", r"must begin with the idx magic 0000080\d, got '1f8b080\d'"),
        ("shape", r"must have the shape \(\d+,.*\), got \(\d+,.*\)"),
    ],
)
def test_a_damaged_idx_file_is_named(tiny_without_md5, layout, number, kind, problem):
    path = layout / tiny_without_md5.files[number].path
    path.write_bytes(damage(path.read_bytes(), kind))
    with pytest.raises(DataError, match=problem) as caught:
        check_files(tiny_without_md5, layout)
    assert caught.value.where == str(path)
    assert "leave out --data" in caught.value.remedy


def test_a_missing_file_is_named(tiny, layout):
    path = layout / tiny.files[2].path
    path.unlink()
    with pytest.raises(DataError, match="cannot be read") as caught:
        check_files(tiny, layout)
    assert caught.value.where == str(path)


def test_a_label_that_is_no_class_is_refused(tiny_without_md5, layout):
    path = layout / tiny_without_md5.files[1].path
    path.write_bytes(path.read_bytes()[:-1] + b"\x03")
    with pytest.raises(DataError, match=r"has a label that is not in 0…2, got 3"):
        check_files(tiny_without_md5, layout)


def test_another_md5_is_refused(tiny, layout):
    path = layout / tiny.files[0].path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    got = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"does not have the MD5 {tiny.files[0].md5}, got '{got}'"):
        check_files(tiny, layout)


def test_the_arrays_hold_what_the_files_hold(tiny, layout):
    (images, labels), (test_images, _) = read(tiny, layout)
    assert images.shape == (30, 1, 8, 8)
    assert test_images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2] * 10
    raw = (layout / tiny.files[2].path).read_bytes()[len(idx_header((10, 8, 8))) :]
    assert test_images.tobytes() == raw


def test_transposed_images_are_turned_upright(tiny, layout):
    (lying, _), _ = read(tiny, layout)
    (upright, _), _ = read(replace(tiny, transposed=True), layout)
    assert np.array_equal(upright, lying.transpose(0, 1, 3, 2))
    assert upright.flags.c_contiguous
