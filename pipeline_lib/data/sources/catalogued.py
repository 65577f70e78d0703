"""A data set of the catalogue as a source: fetched, checked and converted once a home."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pipeline_lib.data.problem import Problem
from pipeline_lib.data.problems import check_name, keep_name
from pipeline_lib.data.source import Progress
from pipeline_lib.data.sources.catalogue import CATALOGUE, Dataset, find
from pipeline_lib.data.sources.fetch import fetch
from pipeline_lib.data.sources.idx import check_files
from pipeline_lib.data.sources.stored import Stored, staging, write_parts
from pipeline_lib.data.store import digest
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.names import load

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig


@dataclass(frozen=True)
class Catalogued(Stored):
    """A data set of the catalogue, as arrays in a home."""

    kind: ClassVar[str] = "catalogue"
    takes: ClassVar[frozenset[str]] = frozenset({"data_root"})

    @staticmethod
    def check(config: RunConfig, home: Home, progress: Progress) -> None:
        """See `source.check`."""
        if config.data_root is not None:
            check_files(find(config.dataset), Path(config.data_root))
        if config.problem is not None:
            check_name(home, config.problem, find(config.dataset).classes)

    @staticmethod
    def expected(config: RunConfig) -> Problem:
        """See `source.expected`."""
        return find(config.dataset).problem(digest="")

    @classmethod
    def prepare(cls, config: RunConfig, home: Home, progress: Progress) -> Self:
        """See `source.prepare`."""
        root = Path(config.data_root) if config.data_root else None
        found = cls.of(find(config.dataset), home, root, progress)
        if config.problem in (None, config.dataset):
            return found
        keep_name(home, config.problem_name, found.problem.target.names)
        return replace(found, problem=replace(found.problem, name=config.problem_name))

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        home: Home,
        root: Path | None = None,
        progress: Progress = lambda _line: None,
    ) -> Self:
        """As `prepare`, for an entry that need not be in the catalogue."""
        if root is not None:
            check_files(dataset, root)
        # Only where every MD5 is known must a user's directory hold the same as our own.
        reusable = root is None or dataset.pinned
        ready = cls._found(dataset, home) if reusable else None
        if ready is not None:
            return ready
        home.ensure_writable()
        with staging(dataset.name, home, progress) as aside:
            ready = cls._found(dataset, home) if reusable else None
            if ready is not None:
                return ready
            if root is None:
                fetch(dataset, home.data, aside, progress)
            progress(f"Converting {dataset.name} to arrays")
            ready = cls._convert(dataset, root or home.data, aside, home)
            if reusable:
                record = json.dumps({"digest": ready.problem.digest})
                write_whole(_record(dataset, home), record)
            return ready

    @classmethod
    def _found(cls, dataset: Dataset, home: Home) -> Self | None:
        try:
            known = json.loads(_record(dataset, home).read_text(encoding="utf-8"))["digest"]
        except (OSError, ValueError):  # not there, or cut short: it is made anew
            return None
        ready = cls(dataset.problem(known), _directory(dataset, known, home))
        return ready if ready.is_whole() else None

    @classmethod
    def _convert(cls, dataset: Dataset, root: Path, aside: Path, home: Home) -> Self:
        train, test = load(dataset.reader)(dataset, root)
        found = digest(train, test)
        ready = cls(dataset.problem(found), _directory(dataset, found, home))
        if ready.is_whole():
            return ready
        write_parts(aside / "arrays", train, test)
        shutil.rmtree(ready.directory, ignore_errors=True)  # what is left of a damaged one
        ready.directory.parent.mkdir(exist_ok=True)
        (aside / "arrays").replace(ready.directory)
        return ready


@dataclass(frozen=True)
class DatasetStatus:
    """Whether a data set is on disk, and how many bytes it takes there."""

    dataset: Dataset
    on_disk: bool
    size: int  # bytes: files and arrays


def status(home: Home) -> list[DatasetStatus]:
    """How every data set of the catalogue stands on disk, without reading any."""
    return [_status(dataset, home) for dataset in CATALOGUE.values()]


def _status(dataset: Dataset, home: Home) -> DatasetStatus:
    ready = Catalogued._found(dataset, home)
    raw = [home.data / file.path for file in dataset.files]
    arrays = sorted(ready.directory.rglob("*.npy")) if ready else []
    size = sum(path.stat().st_size for path in (*raw, *arrays) if path.is_file())
    return DatasetStatus(dataset, ready is not None or all(p.is_file() for p in raw), size)


def _record(dataset: Dataset, home: Home) -> Path:
    return home.data / "arrays" / f"{dataset.name}.json"


def _directory(dataset: Dataset, digest: str, home: Home) -> Path:
    return home.data / "arrays" / f"{dataset.name}-{digest[:12]}"
