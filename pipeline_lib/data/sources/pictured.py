"""A user's own pictures as a source: listed, checked, and kept as arrays of one shape."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline_lib.addresses import kind_of
from pipeline_lib.data.decode import Look
from pipeline_lib.data.listing import Listing, Part, check_classes, joined, readable
from pipeline_lib.data.pictures import Lines, for_each
from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.data.problems import check_name
from pipeline_lib.data.rows import Rows
from pipeline_lib.data.source import Progress
from pipeline_lib.data.sources import spooling
from pipeline_lib.data.sources.stored import Stored
from pipeline_lib.data.stored_size import stored_shape
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig

_PARTS: tuple[tuple[str, Part], ...] = (("validation_data", "validation"), ("test_data", "test"))


@dataclass(frozen=True)
class Looked:
    """A source that was listed and whose pictures were looked at."""

    listing: Listing
    looks: list[Look]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Pictured(Stored):
    """Labelled pictures of a user's; a subclass says how they are listed."""

    takes: ClassVar[frozenset[str]] = frozenset(
        {"image_size", "validation_data", "test_data", "skip_unreadable"}
    )

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """The labelled pictures at an address.

        Raises:
            UserError: It holds none, or something is wrong with them.
        """
        raise NotImplementedError

    @classmethod
    def check(cls, config: RunConfig, home: Home, progress: Progress) -> None:
        """See `source.check`."""
        listing = cls._looked(config, progress).listing
        check_name(home, config.problem_name, listing.names)

    @classmethod
    def expected(cls, config: RunConfig) -> Problem:
        """See `source.expected`; of parts that are drawn the sizes are about right."""
        looked, name = cls._looked(config), config.problem_name
        listing, inputs = looked.listing, Image(*looked.shape)
        test = listing.parts.count("test") or round(len(listing) * config.test_share)
        train = len(listing) - test
        return Problem(name, name, inputs, Classes(listing.names), train, test, digest="")

    @classmethod
    def prepare(cls, config: RunConfig, home: Home, progress: Progress) -> Self:
        """See `source.prepare`."""
        from pipeline_lib.data.sources.conversion import converted

        try:
            looked = cls._looked(config, progress)
            for note in looked.listing.notes:
                progress(note)
            problem, directory, lineage = converted(config, looked, home, progress)
            return cls(problem, directory, lineage)
        finally:
            _known.clear()
            spooling.forget()

    def rows(self) -> Rows:
        """See `Source.rows`."""
        return Rows.load(self.directory / "search")

    def as_json(self, home: Home) -> dict[str, Any]:
        """See `Source.as_json`."""
        return {**super().as_json(home), "lineage": self.lineage}

    @classmethod
    def from_json(cls, problem: Problem, fields: Mapping[str, Any], home: Home) -> Self:
        """See `Source.from_json`."""
        return replace(super().from_json(problem, fields, home), lineage=fields["lineage"])

    @classmethod
    def _looked(cls, config: RunConfig, progress: Progress = lambda _line: None) -> Looked:
        """All rows whose pictures can be read; remembered until the data are prepared."""
        key = cls.kind, *config.data_fields(), *map(_state, _addresses(config))
        if key not in _known:
            _known[key] = cls._look(config, progress)
        return _known[key]

    @classmethod
    def _look(cls, config: RunConfig, progress: Progress) -> Looked:
        listings = [cls.listing(config, config.dataset)]
        for field, part in _PARTS:
            address = getattr(config, field)
            if address is not None:
                if part in listings[0].parts:
                    problem, remedy = "is given twice", f"{listings[0].where} has that part"
                    raise ConfigurationError(field, problem, value=address, remedy=remedy)
                listings.append(cls._other(config, field).as_part(part))
        whole = joined(listings)
        rows = [whole.row(number) for number in range(len(whole))]
        say = Lines(progress, "Looking at", len(whole))
        answers = for_each(rows, whole.pictures.look, say.passed)
        listing, looks = readable(whole, answers, skip=config.skip_unreadable)
        check_classes(listing)

        def read(number: int, shape: tuple[int, int, int]) -> Any:
            return listing.pictures.read(listing.row(number), shape)

        return Looked(listing, looks, stored_shape(looks, read, config.image_size))

    @classmethod
    def _other(cls, config: RunConfig, field: str) -> Listing:
        """The listing of data of the same kind that another field names."""
        address = getattr(config, field)
        kind = kind_of(field, address)
        if kind != cls.kind:
            problem, remedy = f"is of the kind {kind}", f"name one of the kind {cls.kind}"
            raise ConfigurationError(field, problem, value=address, remedy=remedy)
        return cls.listing(config, address)


_known: dict[Any, Looked] = {}
"""What was looked at at the door, for the run that follows."""


def _addresses(config: RunConfig) -> list[str]:
    return [config.dataset, *(getattr(config, field) or "" for field, _ in _PARTS)]


def _state(address: str) -> tuple[Any, ...]:
    """What changes when files are added to a source, or removed, or a single file is written."""
    path = Path(address.rpartition(":")[0] if ".py:" in address else address)
    if not address or not path.exists():
        return ()
    folders = [folder for folder, _, _ in os.walk(path)] if path.is_dir() else [str(path)]
    return tuple((folder, Path(folder).stat().st_mtime_ns) for folder in folders)
