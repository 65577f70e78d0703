"""What people write: options of the command line, names, choices from a list, durations."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import user_path
from pipeline_lib.names import ENGINES, FAMILIES, load

if TYPE_CHECKING:  # Auto-PyTorch's environment has none
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

_PIN = "#"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Option:
    """How a field is given on the command line: metadata of every field but `dataset`.

    Attributes:
        group: Heading of the help that lists it.
        names: Names without dashes, the usual one first; none: the field's own.
        metavar: What stands for the value in the help; empty: told by the field's type.
        repeats: Whether the option may be given more than once, for a list of values.
    """

    group: str
    names: tuple[str, ...] = ()
    metavar: str = ""
    repeats: bool = False


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


def family_names(given: Any) -> Any:
    """Families by name, and files by their whole paths, which lead there from every directory.

    A file's digest may stand behind it, after `#`. What is no text or list is returned as it is.

    Raises:
        ConfigurationError: One is unknown, or two have one name.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list | tuple):
        return given
    families = [_family(each.strip()) for text in texts for each in str(text).split(",")]
    names = [Path(unpinned(each)[0]).name for each in families]
    for name in names:
        if names.count(name) > 1:
            remedy = "give each file of a run a name of its own"
            raise ConfigurationError("family", "is given twice", value=name, remedy=remedy)
    return tuple(families)


def pinned(file: str, sha256: str) -> str:
    """A file with the digest of what it held."""
    return f"{file}{_PIN}{sha256}"


def unpinned(text: str) -> tuple[str, str]:
    """The file of a text, and the digest behind it, where it has one; a path may hold a `#`."""
    found = re.fullmatch(rf"(.+){_PIN}([0-9a-f]{{64}})", text)
    return (found[1], found[2]) if found else (text, "")


def _family(text: str) -> str:
    file, sha256 = unpinned(text)
    if not file.endswith(".py"):
        return choice("family", text, (*FAMILIES, "FILE.py"))
    path = str(user_path("family", file))
    return pinned(path, sha256) if sha256 else path


def pattern(field: str, text: str) -> str:
    """`text`, when it is a regular expression with a group.

    Raises:
        ConfigurationError: It is none, or has no group.
    """
    remedy = r"write the part that is the same in brackets, such as 'patient(\d+)'"
    try:
        groups = re.compile(text).groups
    except re.error as error:
        problem = f"is no regular expression ({error})"
        raise ConfigurationError(field, problem, value=text, remedy=remedy) from error
    if not groups:
        raise ConfigurationError(field, "has no group", value=text, remedy=remedy)
    return text


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


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest of many; empty where there are none."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"did you mean {close[0]}?" if close else ""


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


def explain(error: ValidationError, fields: Mapping[str, FieldInfo]) -> ConfigurationError:
    """The first thing that is wrong with values of these fields, in one line."""
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "configuration"
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        return _unknown_field(field, fields)
    if first["type"] == "literal_error":
        try:
            choice(field, str(value), get_args(fields[field].annotation))
        except ConfigurationError as unknown:
            return unknown
    problem = first["msg"].replace("Input should be", "must be")
    remedy = fields[field].description or "" if field in fields else ""
    return ConfigurationError(field, problem, value=value, remedy=remedy)


def _unknown_field(field: str, fields: Mapping[str, FieldInfo]) -> ConfigurationError:
    try:
        choice("configuration", field, tuple(fields))
    except ConfigurationError as unknown:
        return unknown
    return ConfigurationError(field, "is given twice")


def offered(names: Callable[[], Iterable[str]]) -> Callable[[dict[str, Any]], None]:
    """The values that a field's form, help and completion offer, asked for when one is made.

    What a name stands for is imported only then, and a line that a table gains is among them.
    """

    def offer(schema: dict[str, Any]) -> None:
        schema["enum"] = list(names())

    return offer


def spaces() -> list[str]:
    """The search spaces of every engine, each once."""
    return [*dict.fromkeys(space for name in ENGINES for space in load(ENGINES[name]).spaces)]
