"""Which classes a problem's name stands for in a home: two data sets never share a champion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.data.sources.catalogue import CATALOGUE
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home

_REMEDY = "give these data a name of their own with --problem NAME"


def check_name(home: Home, name: str, classes: Sequence[str]) -> None:
    """Refuse a name that stands for other classes; writes nothing.

    Raises:
        ConfigurationError: It is that of a data set of the catalogue, or of other data.
    """
    if name in CATALOGUE and CATALOGUE[name].classes is not classes:
        problem = "is the name of a data set of the catalogue"
        raise ConfigurationError("problem", problem, value=name, remedy=_REMEDY)
    try:
        known = json.loads(_path(home, name).read_text(encoding="utf-8"))["classes"]
    except (OSError, ValueError, KeyError):  # not there, or cut short: it is written anew
        return
    if list(classes) != known:
        apart = sorted(set(classes) ^ set(known)) or ["in another order"]
        problem = f"has had other classes ({', '.join(apart[:5])})"
        raise ConfigurationError("problem", problem, value=name, remedy=_REMEDY)


def keep_name(home: Home, name: str, classes: Sequence[str]) -> None:
    """Let a name stand for these classes from now on.

    Raises:
        ConfigurationError: As `check_name`.
    """
    check_name(home, name, classes)
    write_whole(_path(home, name), json.dumps({"classes": list(classes)}, indent=1) + "\n")


def _path(home: Home, name: str) -> Path:
    return home.data / "problems" / f"{name}.json"
