from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.data.sources.catalogue import Dataset, idx_files
from pipeline_lib.data.sources.idx import idx_header

pytest.register_assert_rewrite("source_contract")

TRAIN, TEST, SIDE = 30, 10, 8


def tiny_idx_bytes() -> list[bytes]:
    """Train images, train labels, test images, test labels of a three-class set."""
    random = np.random.default_rng(0)
    arrays = []
    for size in (TRAIN, TEST):
        arrays.append(random.integers(0, 256, (size, SIDE, SIDE), dtype=np.uint8))
        arrays.append((np.arange(size) % 3).astype(np.uint8))
    return [idx_header(array.shape) + array.tobytes() for array in arrays]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A directory such as a distribution's package leaves: four gzipped idx files."""
    directory = tmp_path / "package"
    directory.mkdir()
    for file, content in zip(
        idx_files("Tiny/raw", TRAIN, TEST, side=SIDE), tiny_idx_bytes(), strict=True
    ):
        (directory / f"{Path(file.path).name}.gz").write_bytes(gzip.compress(content))
    return directory


@pytest.fixture
def tiny(package: Path) -> Dataset:
    """A data set whose source is `package`; torchvision does not know it."""
    md5s = tuple(hashlib.md5(content).hexdigest() for content in tiny_idx_bytes())
    return Dataset(
        name="tiny",
        title="three classes of noise",
        shape=(1, SIDE, SIDE),
        classes=("a", "b", "c"),
        train_size=TRAIN,
        test_size=TEST,
        torchvision_class="NoSuchDataset",
        files=idx_files("Tiny/raw", TRAIN, TEST, side=SIDE, md5s=md5s),
        packaged=str(package),
    )


@pytest.fixture
def tiny_without_md5(tiny: Dataset) -> Dataset:
    return replace(tiny, files=tuple(replace(file, md5=None) for file in tiny.files))


@pytest.fixture
def layout(tiny: Dataset, tmp_path: Path) -> Path:
    """A user's directory that holds `tiny` in torchvision's layout."""
    root = tmp_path / "mine"
    for file, content in zip(tiny.files, tiny_idx_bytes(), strict=True):
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
