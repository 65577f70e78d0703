"""What a run takes from earlier ones: its search seed when continued, configurations to try first.

A night is a new study with a seed of its own that tries the best configurations of its past first.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.families.family import Family
from pipeline_lib.home import RUN, Home
from pipeline_lib.options import pinned, unpinned

PAST = "past"
"""Stands, among the runs to start from, for the latest that searched as this one does."""
_LATEST = 30
_ALIKE = ("space", "set", "metric")
"""Fields of the configuration, besides those about the data, that a run of one's past shares."""


def settle(config: RunConfig, home: Home, name: str) -> RunConfig:
    """The configuration, a seed drawn and runs named where it leaves that open.

    What is settled is recorded with the run, so that it can be searched again; a continued study
    keeps what it was begun with.

    Raises:
        ConfigurationError: A run to start from is not there, or searched another space.
    """
    begun = _asked(home, name)
    settled: dict[str, Any] = {"family": tuple(_pinned(text, home) for text in config.family)}
    if config.seed == "random":
        settled["seed"] = begun.seed if begun else secrets.randbelow(2**32)
    if config.warm_start:
        settled["warm_start"] = begun.warm_start if begun else _earlier(config, home, name)
    return config.model_copy(update=settled)


def _pinned(text: str, home: Home) -> str:
    """A family with the digest of its file, where it is one, as it was when the run began."""
    family = Family.find(text, home)
    is_whole = family.file is None or unpinned(text)[1]
    return text if is_whole else pinned(text, family.sha256)


def _earlier(config: RunConfig, home: Home, own: str) -> tuple[str, ...]:
    """Names of the runs to start from, each once."""
    names: list[str] = []
    for name in config.warm_start:
        if name == PAST:
            names += _past(config, home, own)
            continue
        asked = _asked(home, name)
        if asked is None:
            remedy = "name runs of this home, or 'past'"
            raise ConfigurationError("warm_start", "is no run", value=name, remedy=remedy)
        for field in ("space", "set", "metric"):
            theirs = getattr(asked, field)
            if theirs != getattr(config, field):
                problem = f"is a run of another {field}, {theirs!r}"
                raise ConfigurationError("warm_start", problem, value=name)
        names.append(name)
    return tuple(dict.fromkeys(names))


def _past(config: RunConfig, home: Home, own: str) -> list[str]:
    """The latest runs of the same data, split, space and metric, the latest first."""
    begun = [path for path in home.study("").glob(f"*/{RUN}") if path.parent.name != own]
    found: list[str] = []
    for path in sorted(begun, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            asked = _asked(home, path.parent.name)
        except ConfigurationError:  # of another version: nobody asked for this run by name
            continue
        if asked and _alike(asked) == _alike(config):
            found.append(path.parent.name)
    return found[:_LATEST]


def _alike(config: RunConfig) -> list[Any]:
    """What is the same in every run of one's past; a family's file may have been edited since."""
    families = [unpinned(family)[0] for family in config.families]
    return [config.data_fields(), *(getattr(config, name) for name in _ALIKE), families]


def _asked(home: Home, name: str) -> RunConfig | None:
    """What a run was begun with; None where its study was not begun."""
    path = home.study(name) / RUN
    try:
        return RunConfig.of_record(json.loads(path.read_text(encoding="utf-8"))["config"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError("run", f"cannot be read ({error})", value=str(path)) from error
