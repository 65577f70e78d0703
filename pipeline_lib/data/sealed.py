"""The test set, closed; `evaluation/final_test.py` alone opens it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline_lib.data.examples import Examples, MappedExamples
from pipeline_lib.data.store import Labelled, labelled, shapes, write

_SEALED = "sealed"  # directory of its arrays, beside those that a search reads
_PART = "test"


@dataclass(frozen=True)
class SealedTestSet:
    """A test set that has not been looked at; only `evaluation/final_test.py` unseals it."""

    dataset: str
    digest: str  # of the data set
    size: int
    _directory: Path = field(repr=False)  # of the data set's arrays

    def unseal(self) -> Examples:
        """Its examples.

        Raises:
            DataError: The arrays are gone.
        """
        return MappedExamples(*labelled(self._directory / _SEALED, _PART))


def seal(directory: Path, arrays: Labelled) -> None:
    """Write the examples of a test set among the arrays of its data set."""
    write(directory / _SEALED, _PART, arrays)


def sealed_place(directory: Path) -> tuple[Path, str]:
    """Where the examples of a test set are to be written, and what the part is called."""
    return directory / _SEALED, _PART


def sealed_shapes(directory: Path) -> list[tuple[int, ...]]:
    """Shapes of the test set's images and labels, which say whether it is whole.

    Raises:
        DataError: The arrays are gone.
    """
    return shapes(directory / _SEALED, _PART)
