"""Who is champion, who was before, and why. One promotion at a time on one machine."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pipeline_lib.errors import ModelError
from pipeline_lib.files import locked
from pipeline_lib.home import Home
from pipeline_lib.outcome import Champion
from pipeline_lib.registry.versions import CHALLENGER, CHAMPION, PREFIX, model_name
from pipeline_lib.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "automl.promotion."  # and the time: one tag of a model version for each event
ANY = 0
"""Whoever is champion; versions count from 1."""
_LONGEST_REASON = 1000  # characters


@dataclass(frozen=True)
class Event:
    """A version became champion."""

    version: int
    action: Literal["promote", "rollback"]
    replaced: int | None  # who was champion before
    at: str  # UTC, ISO 8601
    by: str
    why: str


def champion(home: Home, dataset: str) -> Champion | None:
    """The champion of a data set; None where there is none yet."""
    if not _has_store(home):
        return None
    client = open_store(home).client
    name = model_name(dataset)
    version = _aliases(client, name).get(CHAMPION)
    if version is None:
        return None
    found = client.get_model_version(name, str(version))
    return Champion(version, found.run_id or "", found.tags)


def registered_names(home: Home) -> list[str]:
    """Names of the problems that have a registered model, in the alphabet's order."""
    if not _has_store(home):
        return []
    client, names, token = open_store(home).client, list[str](), None
    while True:
        page = client.search_registered_models(f"name LIKE '{PREFIX}%'", page_token=token)
        names += [model.name.removeprefix(PREFIX) for model in page]
        token = page.token
        if not token:
            return sorted(names)


def promotable(home: Home, dataset: str, version: int | None) -> Champion:
    """The version that may become champion; without one, the challenger.

    Raises:
        ModelError: There is no such version, or it is champion already.
    """
    with _exclusively(home, dataset) as (client, name):
        number = _promotable(client, name, version)
        found = client.get_model_version(name, str(number))
        return Champion(number, found.run_id or "", found.tags)


def check_champion(home: Home, dataset: str, met: int | None) -> None:
    """Whether the champion is still the version that something was compared with.

    Raises:
        ModelError: It is another by now.
    """
    with _exclusively(home, dataset) as (client, name):
        _check_champion(client, name, met)


def promote(
    home: Home,
    dataset: str,
    version: int | None,
    why: str,
    by: str | None = None,
    met: int | None = ANY,
) -> Event:
    """Make a version champion; without one, the challenger.

    Args:
        home: Where the registry is.
        dataset: Whose versions.
        version: Which one.
        why: Kept in the history.
        by: Who says so; None: the person at this machine.
        met: The champion that it was compared with, None: there was none; `ANY`: whoever it is.

    Raises:
        ModelError: There is no such version, it is champion already, or the champion is another.
    """
    with _exclusively(home, dataset) as (client, name):
        version = _promotable(client, name, version)
        if met != ANY:
            _check_champion(client, name, met)
        before = _aliases(client, name).get(CHAMPION)
        return _set_champion(client, name, version, "promote", (by or _person(), why), before)


def promote_over(home: Home, dataset: str, version: int, seen: int | None, why: str) -> bool:
    """Make a version champion if `seen` is champion still; None means that there was none.

    What was decided against one champion says nothing of another, which a second run may have
    promoted meanwhile. Returns whether the version is champion now.
    """
    with _exclusively(home, dataset) as (client, name):
        now = _aliases(client, name).get(CHAMPION)
        if now not in (seen, version):
            return False
        if now == version and any(e.version == version for e in _events(client, name)):
            _retire_challenger(client, name, version)  # what a try whose reply was lost left to do
        else:
            _set_champion(client, name, version, "promote", ("automl run", why), seen)
        return True


def rollback(home: Home, dataset: str, why: str) -> Event:
    """Make the champion before this one champion again; a second time, the one before that.

    Raises:
        ModelError: There was none before, or its version was deleted.
    """
    with _exclusively(home, dataset) as (client, name):
        current = _aliases(client, name).get(CHAMPION)
        before = [version for version in _promoted(client, name) if version != current]
        if current is None or not before:
            problem = f"has no champion before version {current}" if current else "has no champion"
            raise ModelError(name, problem, remedy="`automl promote` makes a version champion")
        return _set_champion(client, name, before[-1], "rollback", (_person(), why), current)


def history(home: Home, dataset: str) -> list[Event]:
    """Every promotion and rollback of a data set's versions, oldest first."""
    if not _has_store(home):
        return []
    return _events(open_store(home).client, model_name(dataset))


def _check_champion(client: MlflowClient, name: str, met: int | None) -> None:
    now = _aliases(client, name).get(CHAMPION)
    if now != met:
        problem = f"of {name} became version {now} meanwhile"
        remedy = "ask again: the comparison was with another"
        raise ModelError("champion", problem, remedy=remedy)


def _promotable(client: MlflowClient, name: str, version: int | None) -> int:
    aliases = _aliases(client, name)
    if version is None:
        version = aliases.get(CHALLENGER)
    if version is None:
        remedy = "name a version, or `automl run` one"
        raise ModelError("challenger", f"of {name} is not there", remedy=remedy)
    if version not in _versions(client, name):
        known = ", ".join(map(str, _versions(client, name))) or "none"
        remedy = f"versions of {name}: {known}"
        raise ModelError("version", "is not registered", value=version, remedy=remedy)
    if version == aliases.get(CHAMPION):
        raise ModelError("version", f"of {name} is champion already", value=version)
    return version


def _set_champion(
    client: MlflowClient,
    name: str,
    version: int,
    action: Literal["promote", "rollback"],
    said: tuple[str, str],
    replaced: int | None,
) -> Event:
    by, why = said
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"  # MLflow takes no '+' in a tag's name
    event = Event(version, action, replaced, now, by, why[:_LONGEST_REASON])
    # The alias first: it alone says who is champion, and `rollback` copes with a missing event.
    client.set_registered_model_alias(name, CHAMPION, str(version))
    client.set_model_version_tag(name, str(version), _TAG + event.at, json.dumps(asdict(event)))
    _retire_challenger(client, name, version)
    return event


def _retire_challenger(client: MlflowClient, name: str, version: int) -> None:
    """A champion is challenger no more."""
    if _aliases(client, name).get(CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _promoted(client: MlflowClient, name: str) -> list[int]:
    """Versions that were promoted and not rolled back, oldest first; deleted ones are left out."""
    list_champions: list[int] = []
    for event in _events(client, name):
        if event.action == "rollback" and event.version in list_champions:
            last = len(list_champions) - 1 - list_champions[::-1].index(event.version)
            del list_champions[last + 1 :]
        else:
            list_champions.append(event.version)
    return list_champions


def _events(client: MlflowClient, name: str) -> list[Event]:
    told = [
        Event(**json.loads(value))
        for tags in _versions(client, name).values()
        for key, value in tags.items()
        if key.startswith(_TAG)
    ]
    return sorted(told, key=lambda event: event.at)


def _versions(client: MlflowClient, name: str) -> dict[int, Mapping[str, str]]:
    """Tags by version, in rising order."""
    found: dict[int, Mapping[str, str]] = {}
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", 1000, page_token=token)
        found |= {int(version.version): version.tags for version in page}
        token = page.token
        if not token:
            return dict(sorted(found.items()))


def _aliases(client: MlflowClient, name: str) -> dict[str, int]:
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {alias: int(version) for alias, version in model.aliases.items()}


@contextmanager
def _exclusively(home: Home, dataset: str) -> Iterator[tuple[MlflowClient, str]]:
    """MLflow's client and the model's name, while no other process of this home promotes."""
    name = model_name(dataset)
    if not _has_store(home):
        remedy = "`automl run` registers one; --home or AUTOML_HOME says where to look"
        raise ModelError("model", "is not registered", value=name, remedy=remedy)
    client = open_store(home).client
    home.ensure_writable()
    lock = home.mlflow_database.with_name(f"{name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)  # absent where a server keeps the store
    with locked(lock):
        yield client, name


def _has_store(home: Home) -> bool:
    return home.mlflow_database.exists() or bool(os.environ.get("MLFLOW_TRACKING_URI"))


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
