"""The runs of a home: what each searched on, how it stands, and what it found so far."""

from __future__ import annotations

import csv
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline_lib.config_file import CONFIG_FILE
from pipeline_lib.errors import ConfigurationError, UserError
from pipeline_lib.files import acquire
from pipeline_lib.home import LOCK, RUN, Home
from pipeline_lib.options import choice
from pipeline_lib.outcome import Champion
from pipeline_lib.registry.promotion import champion
from pipeline_lib.report.files import REPORT, SUMMARY, latest
from pipeline_lib.run.sync import Begun
from pipeline_lib.selection.leaderboard import best, phrase
from pipeline_lib.trial import Trial

State = Literal["running", "finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class RunEntry:
    """One run of the list."""

    name: str
    dataset: str  # empty where the run's files are damaged
    state: State
    best: str  # the best value on validation so far, for people; empty without one
    champion: int | None  # the version that it registered, where that is champion


def list_runs(home: Home) -> list[RunEntry]:
    """Every run that got as far as its data, the one that began last first."""
    datasets = {name: _dataset(home, name) for name in begun(home)}
    champions = {each: champion(home, each) for each in set(datasets.values()) if each}
    return [
        _entry(home, name, dataset, champions.get(dataset)) for name, dataset in datasets.items()
    ]


def begun(home: Home) -> list[str]:
    """Names of the runs that got as far as their data, the one that began last first."""
    found = [path.parent.name for path in (home.root / "studies").glob(f"*/{RUN}")]
    return sorted(found, key=lambda name: _began(home, name), reverse=True)


def trials_of(home: Home, name: str | None) -> tuple[str, list[Trial]]:
    """Name and trials of a run, while it searches or later; without a name, of the latest.

    Raises:
        UserError: There is no such run, or what is kept of it is damaged.
    """
    known = begun(home)
    if not known:
        remedy = "`automl run` makes one; --home or AUTOML_HOME says where to look"
        raise UserError("run", "there is none yet", value=str(home.root), remedy=remedy)
    chosen = known[0] if name is None else choice("run", name, known)
    return chosen, [t for found in Begun.read(home, chosen).trials().values() for t in found]


def report_of(home: Home, name: str | None) -> Path:
    """The report of a run; without a name, of the one that finished last.

    Raises:
        UserError: There is no such run, or it has no report yet.
    """
    chosen = latest(home) if name is None else choice("run", name, begun(home))
    path = home.run(chosen) / REPORT
    if not path.is_file():
        remedy = f"`automl report {chosen}` writes it once the run has finished"
        raise UserError("report", "is not there", value=str(path), remedy=remedy)
    return path


def _entry(home: Home, name: str, dataset: str, current_champion: Champion | None) -> RunEntry:
    state = _state(home, name) if dataset else "damaged"
    model = _registered(home, name)
    is_champion = current_champion is not None and model.endswith(f"/{current_champion.version}")
    version = current_champion.version if current_champion is not None and is_champion else None
    return RunEntry(name, dataset, state, _best(home, name, state), version)


def _began(home: Home, name: str) -> float:
    """When it was last begun, in seconds; a continuation writes its configuration again."""
    written = home.run(name) / CONFIG_FILE
    return (written if written.exists() else home.study(name) / RUN).stat().st_mtime


def _dataset(home: Home, name: str) -> str:
    try:
        known = json.loads((home.study(name) / RUN).read_text(encoding="utf-8"))
        older = {"name": known["config"]["dataset"]}  # from before there were problems
        return str(known["data"].get("problem", older)["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _state(home: Home, name: str) -> State:
    summary = home.run(name) / SUMMARY
    if summary.exists() and summary.stat().st_mtime >= _began(home, name):
        return "finished"
    try:  # only read access is needed to look
        lock = acquire(home.study(name) / LOCK, shared=True)
    except OSError:
        return "unfinished"
    if lock is None:
        return "running"
    os.close(lock)
    return "unfinished"


def _best(home: Home, name: str, state: State) -> str:
    """From the leaderboard where there is one, which is quick; else from the study."""
    if state == "damaged":
        return ""
    if state == "finished":
        with (
            suppress(OSError, StopIteration),
            (home.run(name) / "leaderboard.csv").open(encoding="utf-8", newline="") as file,
        ):
            return phrase(next(csv.DictReader(file)))
    try:
        top = best(trials_of(home, name)[1])
    except ConfigurationError:
        return ""
    return top.phrase if top else ""


def _registered(home: Home, name: str) -> str:
    """The address of the model that it registered; empty without one."""
    try:
        kept = json.loads((home.run(name) / SUMMARY).read_text(encoding="utf-8"))
        return str(kept["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
