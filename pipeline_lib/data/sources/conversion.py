"""From a listing to arrays in a home: parts decided, the test part sealed, pictures decoded."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.decode import Shape
from pipeline_lib.data.listing import Listing, readable
from pipeline_lib.data.pictures import Lines, for_each
from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.data.problems import keep_name
from pipeline_lib.data.rows import Rows, held_out, key_of, without_copies
from pipeline_lib.data.source import Progress
from pipeline_lib.data.sources.stored import Stored, part_of, staging
from pipeline_lib.data.store import create, keep_only
from pipeline_lib.errors import ConfigurationError, HomeError, ImageError
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.data.sources.pictured import Looked

PROBLEM = "problem.json"
"""File among the arrays: what is to be learned from them, and the lineage of their parts."""
_SPARE = 2**28  # bytes that a disk is left with
_SHOWN_CHANGES = 4


@dataclass(frozen=True)
class _Divided:
    """A listing whose rows have their parts, in the order in which they are kept."""

    listing: Listing
    labels: npt.NDArray[np.int64]
    known: Rows
    in_test: npt.NDArray[np.bool_]
    digest: str

    def places(self) -> npt.NDArray[np.int64]:
        """The place of each row among those of its part."""
        return np.where(self.in_test, np.cumsum(self.in_test), np.cumsum(~self.in_test)) - 1


def converted(
    config: RunConfig, looked: Looked, home: Home, progress: Progress
) -> tuple[Problem, Path, str]:
    """The arrays of a listing: what is to be learned from them, where they are, their lineage.

    They are kept under a digest of the pictures' own bytes, labels, groups and parts; where they
    are there already, nothing is decoded.

    Raises:
        DataError: Too many pictures cannot be read, or a part would be empty.
        HomeError: The disk has no place for them.
        ConfigurationError: The problem's name stands for other classes.
    """
    divided = _divided(config, _hashed(config, looked.listing, progress), progress)
    name, lineage = config.problem_name, _lineage(config, divided)
    classes = divided.listing.names
    shape = "x".join(map(str, looked.shape))
    directory = home.data / "arrays" / f"{name}-{divided.digest[:12]}-{shape}"
    home.ensure_writable()
    keep_name(home, name, classes)
    with staging(name, home, progress) as aside:
        found = _found(directory)
        if found is not None:
            (directory / PROBLEM).touch()  # `automl gc` keeps what was used last
            return found, directory, lineage
        _check_disk(home, len(divided.labels) * math.prod(looked.shape))
        sizes = _decode(config, divided, looked.shape, aside / "arrays", progress)
        inputs, target = Image(*looked.shape), Classes(classes)
        problem = Problem(name, name, inputs, target, *sizes, divided.digest)
        write_whole(aside / "arrays" / PROBLEM, json.dumps(problem.as_json()) + "\n")
        shutil.rmtree(directory, ignore_errors=True)  # what is left of a damaged one
        directory.parent.mkdir(exist_ok=True)
        (aside / "arrays").replace(directory)
        return problem, directory, lineage


def outdated(home: Home) -> list[Path]:
    """Directories of arrays of pictures of which the same problem has newer ones."""
    by_problem: dict[str, list[Path]] = {}
    made = (home.data / "arrays").glob(f"*/{PROBLEM}")
    for path in sorted(made, key=lambda path: path.stat().st_mtime):
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
        by_problem.setdefault(name, []).append(path.parent)
    return [old for directories in by_problem.values() for old in directories[:-1]]


def _found(directory: Path) -> Problem | None:
    """What is to be learned from arrays that are there, whole."""
    try:
        known = Problem.from_json(json.loads((directory / PROBLEM).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        return None
    return known if Stored(known, directory).is_whole() else None


def _hashed(config: RunConfig, listing: Listing, progress: Progress) -> tuple[Listing, list[bytes]]:
    """The rows whose pictures' bytes can be read, and the SHA-256 of each."""
    say = Lines(progress, "Reading", len(listing))
    asked = [listing.row(number) for number in range(len(listing))]
    answers = for_each(asked, listing.pictures.content, say.passed)
    return readable(listing, answers, skip=config.skip_unreadable)


def _divided(
    config: RunConfig, hashed: tuple[Listing, list[bytes]], progress: Progress
) -> _Divided:
    """Parts for all rows, copies of test pictures left out of the others, and the digest."""
    listing, contents = hashed
    places = {name: number for number, name in enumerate(listing.names)}
    labels = np.array([places[label] for label in listing.labels], np.int64)
    known = _rows(listing, contents)
    parts = np.array(listing.parts)
    in_test = parts == "test"
    if not in_test.any():
        in_test = held_out(known, labels, config.test_share, config.split_seed, "test")
    if not in_test.any():
        problem, remedy = "leaves no picture for the test", "give more pictures, or a larger share"
        raise ConfigurationError("test_share", problem, value=config.test_share, remedy=remedy)
    stays = without_copies(known, ~in_test, in_test)
    if copies := int((~in_test & ~stays).sum()):
        progress(f"{copies:,} pictures are copies of test pictures: left out of the other parts")
    flags = zip(in_test.tolist(), known.chosen.tolist(), _times(known).tolist(), strict=True)
    described = [
        b"\0".join((content, label.encode(), str((key, *flag)).encode()))
        for content, label, key, flag in zip(
            contents, listing.labels, known.keys.tolist(), flags, strict=True
        )
    ]
    order = sorted(np.flatnonzero(stays | in_test).tolist(), key=described.__getitem__)
    digest = hashlib.sha256(json.dumps(listing.names).encode())
    for number in order:
        digest.update(described[number])
    kept = np.array(order, np.int64)
    return _Divided(
        listing.only(order), labels[kept], known.only(kept), in_test[kept], digest.hexdigest()
    )


def _times(known: Rows) -> npt.NDArray[np.int64]:
    return known.order if known.are_in_order else np.zeros(len(known.keys), np.int64)


def _rows(listing: Listing, contents: list[bytes]) -> Rows:
    groups = listing.groups or [""] * len(listing)
    keys = [
        key_of(b"group " + group.encode() if group else content)
        for group, content in zip(groups, contents, strict=True)
    ]
    times: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    if listing.times:
        times = np.unique(np.array(listing.times), return_inverse=True)[1].astype(np.int64)
    return Rows(
        keys=np.array(keys, np.uint64),
        contents=np.array([key_of(content) for content in contents], np.uint64),
        chosen=np.array([part == "validation" for part in listing.parts]),
        order=times,
    )


def _lineage(config: RunConfig, divided: _Divided) -> str:
    """What decides about the part of a row, whichever others there are; see `Pictured`."""
    if divided.known.are_in_order or divided.known.chosen.any():
        return ""
    given = "test" in divided.listing.parts
    share = "given" if given else config.test_share
    return json.dumps([config.problem_name, config.group_by, config.group_column, share])


def _check_disk(home: Home, needed: int) -> None:
    free = shutil.disk_usage(home.data).free
    if free < needed + _SPARE:
        problem = f"has {free / 1e9:.1f} GB free, and the pictures take {needed / 1e9:.1f} GB"
        remedy = "make room, choose a smaller --image-size, or another --home"
        raise HomeError("disk", problem, value=str(home.data), remedy=remedy)


def _decode(
    config: RunConfig, divided: _Divided, shape: Shape, directory: Path, progress: Progress
) -> tuple[int, int]:
    """Write every part decoded into a new directory; returns the sizes of search and test part."""
    listing = divided.listing
    places = divided.places()
    arrays = {
        in_test: create(
            *part_of(directory, in_test), (int((divided.in_test == in_test).sum()), *shape)
        )
        for in_test in (False, True)
    }

    def read(number: int) -> tuple[str, ...]:
        picture = listing.pictures.read(listing.row(number), shape)
        arrays[bool(divided.in_test[number])][places[number]] = picture.pixels
        return picture.changes

    say = Lines(progress, "Decoding", len(listing))
    answers = for_each(range(len(listing)), read, say.passed)
    left, changes = readable(listing, answers, skip=config.skip_unreadable)
    for note in left.notes[len(listing.notes) :]:
        progress(note)
    counts = Counter(each.partition(" from ")[0] for changed in changes for each in changed)
    for change, count in counts.most_common(_SHOWN_CHANGES):
        progress(f"Of {count:,} pictures each {change}")
    is_good = np.array([not isinstance(answer, ImageError) for answer in answers])
    train_size, test_size = (
        _keep_good(divided, is_good, directory, in_test) for in_test in (False, True)
    )
    return train_size, test_size


def _keep_good(
    divided: _Divided, is_good: npt.NDArray[np.bool_], directory: Path, in_test: bool
) -> int:
    """Leave out of a part what could not be decoded; returns its size."""
    rows = np.flatnonzero(divided.in_test == in_test)
    good = is_good[rows]
    folder, part = part_of(directory, in_test)
    keep_only(folder, part, np.flatnonzero(good), divided.labels[rows[good]])
    if not in_test:
        divided.known.only(rows[good]).save(folder)
    return int(good.sum())
