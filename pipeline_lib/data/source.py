"""A source: the recipe for labelled examples that every process follows for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_lib.addresses import kind_of
from pipeline_lib.data.problem import Problem
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.names import SOURCES, load

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig
    from pipeline_lib.data.examples import Examples
    from pipeline_lib.data.rows import Rows
    from pipeline_lib.data.sealed import SealedTestSet
    from pipeline_lib.home import Home

_DECIDING = ("group_column", "group_by", "time_column", "split_column")
_OF_SOME = (
    "data_root", "target", "image_column", "image_root", "image_size", "validation_data",
    "test_data", "skip_unreadable", *_DECIDING,
)  # fmt: skip
"""Fields that some kinds of source know and others do not: those in `takes` of its class."""

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

    @property
    def lineage(self) -> str:
        """What decides about the part of every row; empty where other rows have a say in it.

        Under an equal lineage a row is in the same part, whichever others come.
        """

    def rows(self) -> Rows | None:
        """What decides about the parts of the examples; None: nothing but their classes.

        Raises:
            DataError: It is gone.
        """

    def examples(self) -> Examples:
        """Those for training and validation.

        Raises:
            DataError: They are gone.
        """

    def as_json(self, home: Home) -> dict[str, Any]:
        """Plain values: `kind`, its name in `SOURCES`, and what its `from_json` needs."""


def check(config: RunConfig, home: Home, progress: Progress = lambda _line: None) -> None:
    """Check the user's own files and names, as far as that is possible without decoding any.

    Nothing is written.

    Raises:
        UserError: There are no such data, or something is wrong with them.
    """
    _class_of(config).check(config, home, progress)


def expected(config: RunConfig) -> Problem:
    """The problem of the data as far as it is known before any example is there.

    Raises:
        UserError: There are no such data, or something is wrong with them.
    """
    problem: Problem = _class_of(config).expected(config)
    return problem


def prepare(config: RunConfig, home: Home, progress: Progress = lambda _line: None) -> Source:
    """Fetch, check and convert the data of a configuration; at once where that was done before.

    Args:
        config: Says where they are, and how they are to be read.
        home: Where files and arrays are kept, below `home.data`.
        progress: Gets one line for each thing that happens.

    Raises:
        UserError: There are no such data, or something is wrong with them.
        HomeError: The state directory cannot be written.
    """
    source: Source = _class_of(config).prepare(config, home, progress)
    return source


def reopen(problem: Problem, fields: Mapping[str, Any], home: Home) -> Source:
    """The source of a problem, from what its `as_json` gave."""
    source: Source = load(SOURCES[fields["kind"]]).from_json(problem, fields, home)
    return source


def _class_of(config: RunConfig) -> Any:
    """The class that reads the data, which knows every field that says something about them."""
    kind = kind_of("dataset", config.dataset)
    found = load(SOURCES[kind])
    for field in _OF_SOME:
        value = getattr(config, field)
        if value not in (None, False) and field not in found.takes:
            problem = f"is not for data of the kind {kind}"
            raise ConfigurationError(field, problem, value=value, remedy="leave it out")
    given = [field for field in _DECIDING if getattr(config, field) is not None]
    if len(given) > 1:
        problem, remedy = f"cannot be used with {given[0]}", "let one decide about the parts"
        raise ConfigurationError(given[1], problem, value=getattr(config, given[1]), remedy=remedy)
    return found
