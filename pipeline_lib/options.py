"""What people write: options of the command line, names, choices from a list, durations."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from pipeline_lib.errors import ConfigurationError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Option:
    """How a field is given on the command line: metadata of every field but `dataset`.

    Attributes:
        group: Heading of the help that lists it.
        names: Names without dashes, the usual one first; none: the field's own.
        metavar: What stands for the value in the help; empty: told by the field's type.
    """

    group: str
    names: tuple[str, ...] = ()
    metavar: str = ""


DATA, SEARCH, AFTER = map(Option, ("Data", "Search", "After the search"))


def plain_name(value: str, field: str = "name") -> str:
    """The name of a run, when it can be the name of a directory and of nothing else.

    Raises:
        ConfigurationError: It cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        remedy = "use letters, digits, '.', '_' and '-', at most 100, first a letter or digit"
        raise ConfigurationError(field, "is not a plain name", value=value, remedy=remedy)
    return value


def choice(field: str, value: str, known: Any, whose: str = "") -> str:
    """`value`, when it is one of `known`.

    Raises:
        ConfigurationError: Names the nearest of `known`, and all of them.
    """
    if value in known:
        return value
    near = difflib.get_close_matches(value, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(known)
    raise ConfigurationError(
        field, f"is unknown{whose}", value=value, remedy=f"{hint}choose from {listed}"
    )


def parse_seconds(text: str, field: str = "budget") -> float:
    """Seconds of '90', '90s', '10m', '1.5h' or '1h30m'.

    Raises:
        ConfigurationError: The text is no duration, or not above zero.
    """
    pieces = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    remedy = "write seconds, or a duration such as 90s, 10m, 2h"
    if "".join(number + unit for number, unit in pieces) != text.strip() or not pieces:
        raise ConfigurationError(field, "is not a duration above zero", value=text, remedy=remedy)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    if seconds <= 0:
        raise ConfigurationError(field, "must be above zero", value=text, remedy=remedy)
    return seconds
