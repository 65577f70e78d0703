"""What stands for data at the door: a name that is known, a path, or a function in a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from pipeline_lib.errors import ConfigurationError, DataError
from pipeline_lib.home import user_path
from pipeline_lib.names import DATASETS, TORCHVISION, load
from pipeline_lib.options import choice
from pipeline_lib.own_code import Own

SPOOL = "spool.json"
"""File that makes a directory what a program gave."""
_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {".csv": "table", ".tsv": "table", ".parquet": "table", ".pq": "table", ".npz": "arrays"}
)


def catalogue() -> Collection[str]:
    """Names of the data sets that can be fetched."""
    names: Collection[str] = load(DATASETS).CATALOGUE
    return names


def of_torchvision() -> Collection[str]:
    """Names of torchvision's classes."""
    names: Collection[str] = load(TORCHVISION).TORCHVISION
    return names


def settled(field: str, text: str, others: Iterable[str] = ()) -> str:
    """A name as it is, or a path made absolute, so that it means the same from anywhere.

    Args:
        field: What errors call it.
        text: A name of the catalogue or of torchvision, a path, or FILE.py:FUNCTION.
        others: Names that could have been meant as well.

    Raises:
        ConfigurationError: It is neither a known name, nor looks like a path, nor is there.
    """
    if text in catalogue() or text in of_torchvision():
        return text
    own = Own.parse(field, text)
    if own is not None:
        return own.address
    looks_like_a_path = text.startswith(("~", ".")) or "/" in text or Path(text).suffix in _SUFFIXES
    if looks_like_a_path or (text.strip() and Path(text).exists()):
        return str(user_path(field, text))
    names = dict.fromkeys([*others, *catalogue()])
    try:
        return choice(field, text, names)
    except ConfigurationError as error:
        remedy = f"{error.remedy}, or name a path, such as ./{text or 'pictures'}"
        raise ConfigurationError(field, error.problem, value=text, remedy=remedy) from None


def kind_of(field: str, address: str) -> str:
    """The kind of source, a name of `SOURCES`, that reads what is at a settled address.

    Raises:
        DataError: Nothing is there, or nothing reads it.
    """
    if address in catalogue():
        return "catalogue"
    if address in of_torchvision():
        return "torchvision"
    if Own.parse(field, address):
        return "python"
    path = Path(address)
    if not path.exists():
        remedy = "name a folder, a .csv, .parquet or .npz file, or FILE.py:FUNCTION"
        raise DataError(field, "is not there", value=address, remedy=remedy)
    if path.is_dir():
        return "given" if (path / SPOOL).is_file() else "folder"
    if path.suffix == ".py":
        remedy = f"name its function: {path.name}:FUNCTION"
        raise DataError(field, "is a Python file", value=address, remedy=remedy)
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        remedy = f"files may be {', '.join(_SUFFIXES)} or FILE.py:FUNCTION"
        raise DataError(field, "is of no known kind", value=address, remedy=remedy)
    return kind


def default_name(address: str) -> str:
    """The problem's name where none is given: a plain name made of the last part of the address."""
    if address in catalogue():
        return address
    if address in of_torchvision():
        return address.lower()
    own = Own.parse("dataset", address)
    path = own.path if own else Path(address)
    stem = path.stem if own or path.suffix.lower() in _SUFFIXES else path.name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100]
    return plain or "data"
