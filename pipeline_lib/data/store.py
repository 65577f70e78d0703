"""Data sets as arrays on disk: what a search may see, and the test set that it may not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.sources.catalogue import CATALOGUE, Dataset, find
from pipeline_lib.data.sources.fetch import Progress, fetch
from pipeline_lib.data.sources.idx import Arrays, Images, Labels, check_files, read_arrays
from pipeline_lib.data.splits import Indices, stratified_folds, stratified_split
from pipeline_lib.errors import DataError
from pipeline_lib.files import locked, write_whole
from pipeline_lib.home import Home


@dataclass(frozen=True, eq=False)
class Split:
    """The training images and which of them are for training and for validation."""

    images: Images  # (N, C, H, W), memory-mapped: one copy in memory for all processes
    labels: Labels  # (N,)
    train: Indices
    validation: Indices
    data_digest: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the data set's digest and both lists of indices."""
        digest = hashlib.sha256(self.data_digest.encode())
        digest.update(self.train.tobytes() + b"|" + self.validation.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class SearchData:
    """All of a data set that a search gets; small, and made to be sent to other processes."""

    dataset: str
    digest: str  # of the data set
    shape: tuple[int, int, int]  # (C, H, W)
    classes: tuple[str, ...]
    images: Path
    labels: Path
    seed: int
    validation_share: float
    fold: tuple[int, int] | None = None  # which of how many is held out, in place of the share

    def load(self) -> Split:
        """Map the images and split them.

        Raises:
            DataError: The arrays are gone.
        """
        images, labels = _load(self.images), _load(self.labels)
        if self.fold is None:
            train, validation = stratified_split(labels, self.validation_share, self.seed)
        else:
            number, count = self.fold
            held_out = stratified_folds(labels, count, self.seed) == number
            train, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        return Split(images, labels, train, validation, self.digest)


@dataclass(frozen=True)
class SealedTestSet:
    """A test set that has not been looked at; only `evaluation/final_test.py` unseals it."""

    dataset: str
    digest: str  # of the data set
    size: int
    _directory: Path = field(repr=False)

    def unseal(self) -> tuple[Images, Labels]:
        """Test images (N, C, H, W) uint8 and labels (N,) int64.

        Raises:
            DataError: The arrays are gone.
        """
        return _load(self._directory / "test_images.npy"), _load(
            self._directory / "test_labels.npy"
        )


@dataclass(frozen=True)
class PreparedData:
    """A data set whose files were checked and stand as arrays below `directory`."""

    dataset: Dataset
    digest: str  # SHA-256 over the arrays
    directory: Path

    def search_data(self, seed: int, validation_share: float) -> SearchData:
        """What a search may see; `seed` and `validation_share`, in (0, 1), fix the split."""
        return SearchData(
            dataset=self.dataset.name,
            digest=self.digest,
            shape=self.dataset.shape,
            classes=self.dataset.classes,
            images=self.directory / "search" / "train_images.npy",
            labels=self.directory / "search" / "train_labels.npy",
            seed=seed,
            validation_share=validation_share,
        )

    @property
    def sealed_test_set(self) -> SealedTestSet:
        """The test set, for the one module that may open it."""
        return SealedTestSet(
            self.dataset.name, self.digest, self.dataset.test_size, self.directory / "sealed"
        )


@dataclass(frozen=True)
class DatasetStatus:
    """Whether a data set is on disk, and how many bytes it takes there."""

    dataset: Dataset
    on_disk: bool
    size: int  # bytes: files and arrays


def _silent(_line: str) -> None:
    pass


def prepare(
    name: str, home: Home, data_dir: Path | None = None, progress: Progress = _silent
) -> PreparedData:
    """Fetch, check and convert a data set of the catalogue; at once where that was done before.

    Args:
        name: A name in the catalogue.
        home: Where files and arrays are kept, below `home.data`.
        data_dir: A directory in torchvision's layout to read instead of fetching; never written.
        progress: Gets one line for each thing that happens.

    Raises:
        DataError: The name is unknown, no source has it, or a file in `data_dir` is bad.
        HomeError: The state directory cannot be written.
    """
    return prepare_dataset(find(name), home, data_dir, progress)


def prepare_dataset(
    dataset: Dataset, home: Home, data_dir: Path | None = None, progress: Progress = _silent
) -> PreparedData:
    """As `prepare`, for a data set that need not be in the catalogue."""
    if data_dir is not None:
        check_files(dataset, data_dir)
    # Only where every MD5 is known must a user's directory hold the same as our own.
    reusable = data_dir is None or dataset.pinned
    ready = _find_prepared(dataset, home) if reusable else None
    if ready is not None:
        return ready
    home.ensure_writable()
    with _locked(dataset, home, progress) as staging:
        ready = _find_prepared(dataset, home) if reusable else None
        if ready is not None:
            return ready
        if data_dir is None:
            fetch(dataset, home.data, staging, progress)
        progress(f"Converting {dataset.name} to arrays")
        ready = _convert(dataset, data_dir or home.data, staging, _arrays_root(home))
        if reusable:
            _remember(ready, home)
        return ready


def status(home: Home) -> list[DatasetStatus]:
    """How every data set of the catalogue stands on disk, without reading any."""
    return [_status(dataset, home) for dataset in CATALOGUE.values()]


def _status(dataset: Dataset, home: Home) -> DatasetStatus:
    ready = _find_prepared(dataset, home)
    raw = [home.data / file.path for file in dataset.files]
    arrays = sorted(ready.directory.rglob("*.npy")) if ready else []
    size = sum(path.stat().st_size for path in (*raw, *arrays) if path.is_file())
    return DatasetStatus(dataset, ready is not None or all(p.is_file() for p in raw), size)


def _arrays_root(home: Home) -> Path:
    return home.data / "arrays"


def _record(dataset: Dataset, home: Home) -> Path:
    return _arrays_root(home) / f"{dataset.name}.json"


def _find_prepared(dataset: Dataset, home: Home) -> PreparedData | None:
    try:
        digest = json.loads(_record(dataset, home).read_text(encoding="utf-8"))["digest"]
    except (OSError, ValueError):  # not there, or cut short: it is made anew
        return None
    ready = PreparedData(dataset, digest, _directory(dataset, digest, _arrays_root(home)))
    return ready if _is_whole(ready) else None


def _remember(ready: PreparedData, home: Home) -> None:
    write_whole(_record(ready.dataset, home), json.dumps({"digest": ready.digest}))


def _directory(dataset: Dataset, digest: str, arrays_root: Path) -> Path:
    return arrays_root / f"{dataset.name}-{digest[:12]}"


def _is_whole(ready: PreparedData) -> bool:
    dataset = ready.dataset
    expected = {
        "search/train_images.npy": (dataset.train_size, *dataset.shape),
        "search/train_labels.npy": (dataset.train_size,),
        "sealed/test_images.npy": (dataset.test_size, *dataset.shape),
        "sealed/test_labels.npy": (dataset.test_size,),
    }
    try:
        return all(_load(ready.directory / file).shape == shape for file, shape in expected.items())
    except DataError:
        return False


def _convert(dataset: Dataset, root: Path, staging: Path, arrays_root: Path) -> PreparedData:
    arrays = read_arrays(dataset, root)
    digest = _digest(arrays)
    ready = PreparedData(dataset, digest, _directory(dataset, digest, arrays_root))
    if _is_whole(ready):
        return ready
    for part, name in (("search", "train"), ("sealed", "test")):
        (staging / "arrays" / part).mkdir(parents=True)
        for kind in ("images", "labels"):
            path = staging / "arrays" / part / f"{name}_{kind}.npy"
            np.save(path, getattr(arrays, f"{name}_{kind}"))
    shutil.rmtree(ready.directory, ignore_errors=True)  # what is left of a damaged one
    arrays_root.mkdir(exist_ok=True)
    (staging / "arrays").replace(ready.directory)
    return ready


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for item in fields(arrays):
        array = np.ascontiguousarray(getattr(arrays, item.name))
        digest.update(f"{item.name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _load(path: Path) -> npt.NDArray[Any]:
    # Not np.load, which takes archives and pickles for arrays as well. "c": writable in memory
    # only, so that torch.from_numpy takes it without a warning.
    try:
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="c")
    except (OSError, ValueError) as error:
        remedy = "run again to have it prepared anew"
        raise DataError(str(path), "cannot be read", value=str(error), remedy=remedy) from error
    return array


@contextmanager
def _locked(dataset: Dataset, home: Home, progress: Progress) -> Iterator[Path]:
    """Hold the data set against other processes; yields an empty directory to write aside in."""
    home.data.mkdir(parents=True, exist_ok=True)
    staging = home.data / f".staging-{dataset.name}"
    waiting = f"Waiting for another process that is preparing {dataset.name}"
    with locked(home.data / f".lock-{dataset.name}", lambda: progress(waiting)):
        shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging)
