"""What sources have in common whose examples stand as arrays on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.problem import Problem
from pipeline_lib.data.sealed import SealedTestSet, seal, sealed_shapes
from pipeline_lib.data.store import Labelled, labelled, shapes, write
from pipeline_lib.errors import DataError
from pipeline_lib.home import Home

_SEARCH, _PART = "search", "train"


@dataclass(frozen=True)
class Stored:
    """A problem and the directory of its arrays; see `Source`."""

    problem: Problem
    directory: Path
    kind: ClassVar[str]  # its name in `SOURCES`

    def examples(self) -> MappedExamples:
        """See `Source.examples`."""
        return MappedExamples(*labelled(self.directory / _SEARCH, _PART))

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
