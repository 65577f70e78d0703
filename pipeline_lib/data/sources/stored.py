"""What sources have in common whose examples stand as arrays on disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.problem import Problem
from pipeline_lib.data.rows import Rows
from pipeline_lib.data.sealed import SealedTestSet, seal, sealed_place, sealed_shapes
from pipeline_lib.data.source import Progress
from pipeline_lib.data.store import Labelled, labelled, shapes, write
from pipeline_lib.errors import DataError
from pipeline_lib.files import locked
from pipeline_lib.home import Home

_SEARCH, _PART = "search", "train"


@dataclass(frozen=True)
class Stored:
    """A problem and the directory of its arrays; see `Source`."""

    problem: Problem
    directory: Path
    lineage: str = ""  # see `Source.lineage`
    kind: ClassVar[str]  # its name in `SOURCES`

    def examples(self) -> MappedExamples:
        """See `Source.examples`."""
        return MappedExamples(*labelled(self.directory / _SEARCH, _PART))

    def rows(self) -> Rows | None:
        """See `Source.rows`."""
        return None

    @property
    def test_set(self) -> SealedTestSet:
        """See `Source.test_set`."""
        problem = self.problem
        return SealedTestSet(problem.name, problem.digest, problem.test_size, self.directory)

    def as_json(self, home: Home) -> dict[str, Any]:
        """See `Source.as_json`; the directory follows a home that is moved."""
        return {"kind": self.kind, "directory": home.written(self.directory)}

    @classmethod
    def from_json(cls, problem: Problem, fields: Mapping[str, Any], home: Home) -> Self:
        """The source of which these are the values."""
        return cls(problem, home.read(fields["directory"]))

    def is_whole(self) -> bool:
        """Whether all arrays are there, in the shapes that the problem says."""
        problem, shape = self.problem, self.problem.inputs.shape
        expected = [(problem.train_size, *shape), (problem.train_size,)]
        expected += [(problem.test_size, *shape), (problem.test_size,)]
        try:
            train = shapes(self.directory / _SEARCH, _PART)
            return train + sealed_shapes(self.directory) == expected
        except DataError:
            return False


def write_parts(directory: Path, train: Labelled, test: Labelled) -> None:
    """Write the arrays of a data set into a new directory; the test part apart, sealed."""
    write(directory / _SEARCH, _PART, train)
    seal(directory, test)


def part_of(directory: Path, in_test: bool) -> tuple[Path, str]:
    """Where the arrays of the test part, or of the others, are to be written, and their name."""
    return sealed_place(directory) if in_test else (directory / _SEARCH, _PART)


@contextmanager
def staging(name: str, home: Home, progress: Progress) -> Iterator[Path]:
    """Hold a data set against other processes; yields an empty directory to write aside in."""
    home.data.mkdir(parents=True, exist_ok=True)
    aside = home.data / f".staging-{name}"
    waiting = f"Waiting for another process that is preparing {name}"
    with locked(home.data / f".lock-{name}", lambda: progress(waiting)):
        shutil.rmtree(aside, ignore_errors=True)  # left by a process that was killed
        aside.mkdir()
        try:
            yield aside
        finally:
            shutil.rmtree(aside)
