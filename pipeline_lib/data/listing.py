"""What a source holds, row by row, before anything of it is decoded: the same for every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, TypeVar

from pipeline_lib.data.pictures import Joined, Pictures
from pipeline_lib.errors import DataError, ImageError, RefusedImage

_Answer = TypeVar("_Answer")
Part = Literal["", "train", "validation", "test"]
"""Where a row was put by whoever gave it; empty: nobody said."""

_MOST_UNREADABLE = 0.01
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Listing:
    """Labelled pictures of a source."""

    where: str  # for people
    pictures: Pictures
    labels: Sequence[str]
    parts: Sequence[Part]
    groups: Sequence[str] = ()  # one a row, empty where it belongs to none; or none at all
    times: Sequence[float] = ()  # one a row, or none at all
    notes: tuple[str, ...] = ()  # what was left out, and the like
    classes: tuple[str, ...] = ()  # in the order of their numbers; none: as the labels sort
    rows: Sequence[int] = ()  # of `pictures`, one a row here; none: all

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Its classes, in the order of their numbers."""
        return self.classes or tuple(sorted(set(self.labels), key=_by_number))

    def row(self, number: int) -> int:
        """Which of the pictures stands in a row."""
        return self.rows[number] if self.rows else number

    def only(self, kept: Sequence[int], note: str = "") -> Listing:
        """These rows of it, and a note that says what became of the others."""
        return replace(
            self,
            labels=[self.labels[number] for number in kept],
            parts=[self.parts[number] for number in kept],
            groups=[self.groups[number] for number in kept] if self.groups else (),
            times=[self.times[number] for number in kept] if self.times else (),
            rows=[self.row(number) for number in kept],
            classes=self.names,
            notes=(*self.notes, note) if note else self.notes,
        )

    def as_part(self, part: Part) -> Listing:
        """All of it in one part.

        Raises:
            DataError: It has parts of its own.
        """
        if any(self.parts):
            remedy = "give the option the folder or file of that part alone"
            raise DataError(self.where, "has parts of its own", remedy=remedy)
        return replace(self, parts=[part] * len(self))


def _by_number(label: str) -> tuple[float, str]:
    """Numbers in their order, before words in theirs."""
    return (int(label), label) if label.isdecimal() else (float("inf"), label)


def joined(listings: Sequence[Listing]) -> Listing:
    """Several of them, one after the other."""
    first = listings[0]
    if len(listings) == 1:
        return first
    whole = Joined(tuple(each.pictures for each in listings))
    starts = [sum(len(each.pictures) for each in listings[:at]) for at in range(len(listings))]
    return Listing(
        where=first.where,
        pictures=whole,
        labels=_chained(each.labels for each in listings),
        parts=_chained(each.parts for each in listings),
        groups=_chained(each.groups or [""] * len(each) for each in listings)
        if any(each.groups for each in listings)
        else (),
        notes=tuple(chain.from_iterable(each.notes for each in listings)),
        classes=first.classes,
        rows=[
            start + each.row(number)
            for start, each in zip(starts, listings, strict=True)
            for number in range(len(each))
        ],
    )


def _chained(parts: Iterable[Sequence[_Answer]]) -> list[_Answer]:
    return list(chain.from_iterable(parts))


def check_classes(listing: Listing) -> None:
    """Refuse what no classifier can be learned from.

    Raises:
        DataError: There are no pictures, one class, a class of one picture, or a part has others.
    """
    if not len(listing):
        remedy = "name a folder with one folder of pictures for each class (docs/data.md)"
        raise DataError(listing.where, "holds no labelled pictures", remedy=remedy)
    counts = Counter(listing.labels)
    if len(counts) == 1:
        problem, remedy = "has one class", "a classifier needs two or more"
        raise DataError(listing.where, problem, value=next(iter(counts)), remedy=remedy)
    if gone := [name for name in listing.names if name not in counts]:
        problem, remedy = "has a class without a readable picture", "mend its files"
        raise DataError(listing.where, problem, value=_some(gone), remedy=remedy)
    rare = [label for label, count in counts.items() if count == 1]
    if rare:
        remedy = "add pictures of it, or leave the class out"
        value = _some(rare)
        raise DataError(listing.where, "has a class with one picture", value=value, remedy=remedy)
    _check_parts(listing)


def _check_parts(listing: Listing) -> None:
    by_part: dict[str, set[str]] = {}
    for part, label in zip(listing.parts, listing.labels, strict=True):
        by_part.setdefault(part, set()).add(label)
    learned = by_part.get("train", set()) | by_part.get("", set())
    if not learned:
        remedy = "parts are train, validation and test"
        raise DataError(listing.where, "has nothing to learn from", remedy=remedy)
    for part in ("validation", "test"):
        if unknown := by_part.get(part, set()) - learned:
            problem = f"has classes in the {part} part that the training part lacks"
            remedy = "put them into both, or into neither"
            raise DataError(listing.where, problem, value=_some(sorted(unknown)), remedy=remedy)


def readable(
    listing: Listing, answers: Sequence[_Answer | ImageError], *, skip: bool
) -> tuple[Listing, list[_Answer]]:
    """The rows whose pictures could be read, and what they answered.

    Args:
        listing: Every row.
        answers: One a row: what was asked of its picture, or why that cannot be read.
        skip: Leave out however many cannot be read.

    Raises:
        RefusedImage: A picture must not be used.
        DataError: More than one in a hundred cannot be read; names the first and why.
    """
    errors = [answer for answer in answers if isinstance(answer, ImageError)]
    if not errors:
        return listing, [answer for answer in answers if not isinstance(answer, ImageError)]
    if not skip:
        for error in errors:
            if isinstance(error, RefusedImage):
                raise error
        if len(errors) > _MOST_UNREADABLE * len(answers):
            problem = f"{len(errors):,} of {len(answers):,} pictures cannot be read: {errors[0]}"
            remedy = "mend or remove them, or leave them out with --skip-unreadable"
            raise DataError(listing.where, problem, remedy=remedy)
    kept = [at for at, answer in enumerate(answers) if not isinstance(answer, ImageError)]
    note = f"{len(errors):,} of {len(answers):,} pictures cannot be read and are left out: "
    note += _some([str(error) for error in errors], " · ")
    good = [answer for answer in answers if not isinstance(answer, ImageError)]
    return listing.only(kept, note), good


def _some(names: Sequence[str], between: str = ", ") -> str:
    """The first few of many."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return between.join(names[:_SHOWN]) + more
