"""Pictures where they are before a home has them: files, or arrays in memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline_lib.cores import available_cores
from pipeline_lib.data.decode import Look, Picture, Shape, decode, decode_image, look
from pipeline_lib.errors import ImageError, RefusedImage

if TYPE_CHECKING:
    from PIL import Image

_Found = TypeVar("_Found")
_FIRST_LINE, _SECONDS = 2.0, 10.0  # before the first line of progress, and between two
_AT_ONCE = 512  # rows between two lines of progress


class Pictures(Protocol):
    """Pictures by row number, not yet in the shape that a network takes."""

    def __len__(self) -> int:
        """Number of pictures."""

    def name(self, row: int) -> str:
        """What a person calls it."""

    def look(self, row: int) -> Look:
        """Its size and kind, without decoding it.

        Raises:
            ImageError: It cannot be read.
        """

    def content(self, row: int) -> bytes:
        """SHA-256 of what it is made of.

        Raises:
            ImageError: It cannot be read.
        """

    def read(self, row: int, shape: Shape) -> Picture:
        """The picture in the shape (C, H, W).

        Raises:
            ImageError: It is damaged.
        """


@dataclass(frozen=True)
class Files:
    """Picture files below a directory, none of which may lead out of it."""

    root: Path
    names: Sequence[str]  # relative to `root`

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """See `Pictures.name`."""
        return self.names[row]

    def look(self, row: int) -> Look:
        """See `Pictures.look`."""
        return look(self._path(row))

    def content(self, row: int) -> bytes:
        """See `Pictures.content`."""
        path = self._path(row)
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise ImageError(str(path), f"cannot be read ({error.strerror})") from error

    def read(self, row: int, shape: Shape) -> Picture:
        """See `Pictures.read`."""
        return decode(self._path(row), shape)

    @cached_property
    def _inside(self) -> dict[Path, bool]:
        """Whether a directory lies below `root`, by directory."""
        real, directories = self.root.resolve(), {Path(name).parent for name in self.names}
        return {each: (self.root / each).resolve().is_relative_to(real) for each in directories}

    def _path(self, row: int) -> Path:
        path = self.root / self.names[row]
        inside = self._inside[Path(self.names[row]).parent]
        if path.is_symlink():
            inside = path.resolve().is_relative_to(self.root.resolve())
        if not inside or path.name == "..":
            remedy = f"copy it into {self.root}, or name a directory above both"
            raise RefusedImage(str(path), "leads out of its folder", remedy=remedy)
        return path


@dataclass(frozen=True)
class Arrays:
    """Pictures as arrays, (H, W) or (H, W, C) uint8, each of its own size where they differ."""

    images: Sequence[npt.NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, row: int) -> str:
        """See `Pictures.name`."""
        return f"picture {row}"

    def look(self, row: int) -> Look:
        """See `Pictures.look`."""
        image = self.images[row]
        height, width, *channels = image.shape
        if min(height, width) < 2:
            raise RefusedImage(self.name(row), "has one pixel", value=f"{width}×{height}")
        return Look(height, width, grey=channels in ([], [1]))

    def content(self, row: int) -> bytes:
        """See `Pictures.content`."""
        image = np.ascontiguousarray(self.images[row])
        found = hashlib.sha256(f"{image.shape}".encode())
        found.update(image.data)
        return found.digest()

    def read(self, row: int, shape: Shape) -> Picture:
        """See `Pictures.read`."""
        return decode_image(self.name(row), self._image(row), shape)

    def _image(self, row: int) -> Image.Image:
        from PIL import Image

        image = self.images[row]
        flat = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
        return Image.fromarray(np.ascontiguousarray(flat))


@dataclass(frozen=True)
class Joined:
    """Several sets of pictures, one after the other."""

    sets: tuple[Pictures, ...]

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def name(self, row: int) -> str:
        """See `Pictures.name`."""
        own, at = self._at(row)
        return own.name(at)

    def look(self, row: int) -> Look:
        """See `Pictures.look`."""
        own, at = self._at(row)
        return own.look(at)

    def content(self, row: int) -> bytes:
        """See `Pictures.content`."""
        own, at = self._at(row)
        return own.content(at)

    def read(self, row: int, shape: Shape) -> Picture:
        """See `Pictures.read`."""
        own, at = self._at(row)
        return own.read(at, shape)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        return np.cumsum([len(each) for each in self.sets])

    def _at(self, row: int) -> tuple[Pictures, int]:
        which = int(np.searchsorted(self._ends, row, side="right"))
        return self.sets[which], row - (int(self._ends[which - 1]) if which else 0)


class Lines:
    """Says from time to time how far something has come."""

    def __init__(self, progress: Callable[[str], None], doing: str, size: int) -> None:
        self._say, self._doing, self._size = progress, doing, size
        self._due = time.monotonic() + _FIRST_LINE

    def passed(self, count: int) -> None:
        """So many are done."""
        if time.monotonic() > self._due:
            self._due = time.monotonic() + _SECONDS
            self._say(f"{self._doing} {count:,} of {self._size:,} pictures")


def for_each(
    rows: Sequence[int],
    ask: Callable[[int], _Found],
    passed: Callable[[int], None] = lambda _count: None,
) -> list[_Found | ImageError]:
    """What `ask` says of every row, or why that cannot be read, on all cores.

    Pillow and hashlib release the interpreter while they work, so that threads are enough.

    Args:
        rows: Numbers of pictures.
        ask: A question about one of them.
        passed: Gets the number of those that are done, from time to time.
    """

    def safely(row: int) -> _Found | ImageError:
        try:
            return ask(row)
        except ImageError as error:
            return error

    found: list[_Found | ImageError] = []
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(rows), _AT_ONCE):
            found += pool.map(safely, rows[start : start + _AT_ONCE])
            passed(len(found))
    return found
