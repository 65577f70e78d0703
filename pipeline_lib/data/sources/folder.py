"""A folder with a folder of pictures for each class, or such folders for each part."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline_lib.data.listing import Listing, Part
from pipeline_lib.data.pictures import Files
from pipeline_lib.data.sources.pictured import Pictured
from pipeline_lib.errors import DataError, RefusedImage

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig

PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Names of the folders of parts, in whatever case."""
_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib",
    ".gif",
}  # fmt: skip


class Folder(Pictured):
    """Class folders; see `docs/data.md`."""

    kind: ClassVar[str] = "folder"
    takes: ClassVar[frozenset[str]] = Pictured.takes | {"group_by"}

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """See `Pictured.listing`."""
        root = Path(address)
        parts = _parts(root)
        found: list[tuple[str, str, Part]] = []
        others = 0
        for part, folder in parts:
            for directory in _folders(folder):
                for path, is_picture in _files(directory, root):
                    if is_picture:
                        found.append((path, directory.name, part))
                    else:
                        others += 1
        found.sort()
        notes = [f"{others:,} files that are no pictures by name are left out"] if others else []
        names = [name for name, _, _ in found]
        groups, said = grouped(names, config.group_by)
        return Listing(
            where=str(root),
            pictures=Files(root, names),
            labels=[label for _, label, _ in found],
            parts=[part for _, _, part in found],
            groups=groups,
            notes=(*notes, *said),
        )


def grouped(names: list[str], pattern: str | None) -> tuple[list[str], list[str]]:
    """The group of each picture, by the first group of a pattern in its path; and what to say."""
    if pattern is None:
        return [], []
    matches = [re.search(pattern, name) for name in names]
    groups = [(match[1] or "") if match else "" for match in matches]
    alone = groups.count("")
    known = len(set(groups) - {""})
    said = f"{len(names) - alone:,} pictures are in {known:,} groups"
    return groups, [f"{said}; {alone:,} match nothing and are groups of their own"]


def _parts(root: Path) -> list[tuple[Part, Path]]:
    """The folders that hold class folders, each with its part."""
    folders = _folders(root)
    named = [(PARTS[each.name.lower()], each) for each in folders if each.name.lower() in PARTS]
    are_parts = any(part == "train" for part, _ in named) or len(named) == len(folders)
    if not named or not are_parts or not any(_folders(folder) for _, folder in named):
        return [("", root)]
    if len(named) < len(folders):
        other = next(each.name for each in folders if each.name.lower() not in PARTS)
        problem = "lies beside folders of parts, and is none"
        remedy = "parts are train, val or validation, and test"
        raise DataError(str(root), problem, value=other, remedy=remedy)
    return named


def _folders(directory: Path) -> list[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise DataError(str(directory), f"cannot be read ({error.strerror})") from error
    return [each for each in entries if each.is_dir() and not each.name.startswith(".")]


def _files(directory: Path, root: Path) -> Iterator[tuple[str, bool]]:
    """Files below a class folder, relative to `root`, and whether each is a picture by its name."""
    if directory.is_symlink():
        _stay_inside(directory, root)
    for folder, below, files in os.walk(directory, onerror=_refused):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in below:
            _stay_inside(Path(folder, name), root)
        for name in files:
            if not name.startswith("."):
                path = Path(folder, name)
                yield str(path.relative_to(root)), path.suffix.lower() in _SUFFIXES


def _stay_inside(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        remedy = f"copy it into {root}"
        raise RefusedImage(str(path), "leads out of its folder", remedy=remedy)


def _refused(error: OSError) -> None:
    raise DataError(str(error.filename), f"cannot be read ({error.strerror})") from error
