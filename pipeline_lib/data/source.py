"""A source: the recipe for labelled examples that every process follows for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_lib.data.problem import Problem
from pipeline_lib.data.sources.catalogue import find
from pipeline_lib.names import SOURCES, load

if TYPE_CHECKING:
    from pipeline_lib.data.examples import Examples
    from pipeline_lib.data.sealed import SealedTestSet
    from pipeline_lib.home import Home

Progress = Callable[[str], None]
"""Gets one line for each thing that happens."""


class Source(Protocol):
    """Small, hashable and picklable.

    A class in a file below `sources/` and a line of `names.SOURCES` make a new one; the functions
    below name what else its class has. `tests/data/source_contract.py` holds it to all of this.
    """

    def __hash__(self) -> int:
        """Equal sources have equal examples."""

    @property
    def problem(self) -> Problem:
        """What is to be learned from the examples."""

    @property
    def test_set(self) -> SealedTestSet:
        """The examples for the test, for the one module that may open them."""

    def examples(self) -> Examples:
        """Those for training and validation.

        Raises:
            DataError: They are gone.
        """

    def as_json(self, home: Home) -> dict[str, Any]:
        """Plain values: `kind`, its name in `SOURCES`, and what its `from_json` needs."""


def check(dataset: str, root: Path) -> None:
    """Check the user's own files, where the data are to come from them; writes nothing.

    Raises:
        DataError: The name is unknown, or a file is not what it should be.
    """
    _named(dataset).check(dataset, root)


def expected(dataset: str) -> Problem:
    """The problem of a data set as far as it is known before any example is there.

    Raises:
        DataError: The name is unknown.
    """
    problem: Problem = _named(dataset).expected(dataset)
    return problem


def prepare(
    dataset: str, home: Home, root: Path | None = None, progress: Progress = lambda _line: None
) -> Source:
    """Fetch, check and convert a data set; at once where that was done before.

    Args:
        dataset: A name in the catalogue.
        home: Where files and arrays are kept, below `home.data`.
        root: A directory in torchvision's layout to read instead of fetching; never written.
        progress: Gets one line for each thing that happens.

    Raises:
        DataError: The name is unknown, nothing offers it, or a file in `root` is bad.
        HomeError: The state directory cannot be written.
    """
    source: Source = _named(dataset).prepare(dataset, home, root, progress)
    return source


def reopen(problem: Problem, fields: Mapping[str, Any], home: Home) -> Source:
    """The source of a problem, from what its `as_json` gave."""
    source: Source = load(SOURCES[fields["kind"]]).from_json(problem, fields, home)
    return source


def _named(dataset: str) -> Any:
    """The class that a name at the door stands for. Today there are names of the catalogue only."""
    find(dataset)
    return load(SOURCES["catalogue"])
