"""Arrays on disk: mapped once a process, told apart by digest, written whole."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.examples import Images, Labels
from pipeline_lib.errors import DataError

Labelled = tuple[Images, Labels]
"""Images (N, C, H, W) uint8 and labels (N,) int64."""

_KINDS = ("images", "labels")


def mapped(path: Path) -> npt.NDArray[Any]:
    """The array in a .npy file, mapped read-only, once a process for as long as the file stays.

    Read-only pages are shared by all processes, and no limit on a process's own memory counts them:
    a data set may be larger than what a trial may allocate.

    Raises:
        DataError: It is gone, or no array.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _mapped(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=16)
def _mapped(path: Path, _state: tuple[int, int, int]) -> npt.NDArray[Any]:
    return _opened(path)


def _opened(path: Path) -> npt.NDArray[Any]:
    # Not np.load, which takes archives and pickles for arrays as well.
    try:
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return array


def _unreadable(path: Path, error: Exception) -> DataError:
    remedy = "run again to have it prepared anew"
    return DataError(str(path), "cannot be read", value=str(error), remedy=remedy)


def labelled(directory: Path, part: str) -> Labelled:
    """Images and labels of a part that `write` left in this directory, mapped.

    Raises:
        DataError: They are gone.
    """
    images, labels = map(mapped, _files(directory, part))
    return images, labels


def shapes(directory: Path, part: str) -> list[tuple[int, ...]]:
    """Shapes of those images and labels; nothing stays mapped.

    Raises:
        DataError: They are gone.
    """
    return [_opened(path).shape for path in _files(directory, part)]


def write(directory: Path, part: str, arrays: Labelled) -> None:
    """Write the images and labels of a part, called `train` or `test`, into a new directory."""
    directory.mkdir(parents=True)
    images, labels = _files(directory, part)
    np.save(images, arrays[0])
    np.save(labels, arrays[1])


def create(directory: Path, part: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The images (N, C, H, W) of a part in a new directory, to be written row by row."""
    directory.mkdir(parents=True)
    path, _ = _files(directory, part)
    return np.lib.format.open_memmap(path, "w+", np.uint8, shape)


def keep_only(directory: Path, part: str, kept: npt.NDArray[np.int64], labels: Labels) -> None:
    """Finish what `create` began: these of its rows stay, and have these labels."""
    path, beside = _files(directory, part)
    np.save(beside, labels)
    images = np.lib.format.open_memmap(path, "r+")
    if len(kept) == len(images):
        return
    aside = path.with_suffix(".kept.npy")
    fewer = np.lib.format.open_memmap(aside, "w+", np.uint8, (len(kept), *images.shape[1:]))
    for at, row in enumerate(kept.tolist()):
        fewer[at] = images[row]
    fewer.flush()
    aside.replace(path)


def _files(directory: Path, part: str) -> list[Path]:
    return [directory / f"{part}_{kind}.npy" for kind in _KINDS]


def digest(train: Labelled, test: Labelled) -> str:
    """SHA-256 over types, shapes and bytes of all arrays."""
    found = hashlib.sha256()
    for part, arrays in (("train", train), ("test", test)):
        for kind, array in zip(_KINDS, map(np.ascontiguousarray, arrays), strict=True):
            found.update(f"{part}_{kind} {array.dtype} {array.shape}".encode())
            found.update(array.data)
    return found.hexdigest()
