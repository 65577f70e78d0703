"""Checking the files of a data set, and reading them once they are known to be good."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.examples import Images
from pipeline_lib.data.sources.catalogue import Dataset, RawFile
from pipeline_lib.data.store import Labelled
from pipeline_lib.errors import DataError

_REMEDY = "replace the file, or leave out --data to have it fetched"


def check_files(dataset: Dataset, root: Path) -> None:
    """Hold every file of the data set below `root` against the catalogue.

    Raises:
        DataError: One is missing, cut short, of another format or size, holds a label that is no
            class, or has another MD5; names the file.
    """
    for file in dataset.files:
        check_file(file, root, len(dataset.classes))


def check_file(file: RawFile, root: Path, classes: int) -> None:
    """Hold one file against the catalogue.

    Raises:
        DataError: As in `check_files`.
    """
    path = root / file.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", remedy=_REMEDY) from error
    if file.shape is not None:
        _check_idx(path, content, file.shape, classes)
    if file.md5 is not None:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != file.md5:
            raise DataError(
                str(path), f"does not have the MD5 {file.md5}", value=md5, remedy=_REMEDY
            )


def _check_idx(path: Path, content: bytes, shape: tuple[int, ...], classes: int) -> None:
    header = idx_header(shape)
    magic, extent = content[:4], content[4 : len(header)]
    if magic != header[:4]:
        raise DataError(
            str(path),
            f"must begin with the idx magic {header[:4].hex()}",
            value=magic.hex(),
            remedy=_REMEDY,
        )
    if extent != header[4:]:
        sizes = tuple(np.frombuffer(extent[: len(extent) // 4 * 4], ">u4").tolist())
        raise DataError(str(path), f"must have the shape {shape}", value=sizes, remedy=_REMEDY)
    size = len(header) + math.prod(shape)
    if len(content) != size:
        fault = "is cut short" if len(content) < size else "is too long"
        raise DataError(
            str(path), f"{fault}: must have {size} bytes", value=len(content), remedy=_REMEDY
        )
    if len(shape) == 1:
        highest = int(np.frombuffer(content, np.uint8, offset=len(header)).max())
        if highest >= classes:
            raise DataError(
                str(path),
                f"has a label that is not in 0…{classes - 1}",
                value=highest,
                remedy=_REMEDY,
            )


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The header of an idx file of bytes: magic 00 00 08 ndim, then the sizes as big-endian u4.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, dtype=">u4").tobytes()


def read(dataset: Dataset, root: Path) -> tuple[Labelled, Labelled]:
    """The part for training and the part for the test, from files that passed `check_files`."""
    train_images, train_labels, test_images, test_labels = (
        _read_file(root / file.path, file.shape or ()) for file in dataset.files
    )
    train, test = (
        (_with_channel(images, transposed=dataset.transposed), labels.astype(np.int64))
        for images, labels in ((train_images, train_labels), (test_images, test_labels))
    )
    return train, test


def _read_file(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.fromfile(path, np.uint8, offset=len(idx_header(shape))).reshape(shape)


def _with_channel(images: Images, *, transposed: bool) -> Images:
    grey = images[:, np.newaxis]  # (N, 1, H, W)
    return np.ascontiguousarray(grey.swapaxes(2, 3)) if transposed else grey
