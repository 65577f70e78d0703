"""Removing weights of trials that lost, reproductions, and arrays of data as they once were."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline_lib.data.sources.conversion import outdated
from pipeline_lib.errors import UserError
from pipeline_lib.files import acquire
from pipeline_lib.home import LOCK, RUN, Home
from pipeline_lib.run.run import Run
from pipeline_lib.run.sync import Begun
from pipeline_lib.trial import Trial, by_regret

_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Policy:
    """Which trials of each engine of a study keep their weights."""

    best: int  # by value on validation, ≥ 1
    last: int  # by number, ≥ 0


@dataclass(frozen=True)
class Cleaned:
    """What was, or would be, removed of one study."""

    study: str  # or the directory of arrays
    trials: int
    freed: int  # bytes, those of MLflow's copies as well
    skipped: str = ""  # why nothing was removed


def clean(home: Home, policy: Policy, *, dry_run: bool) -> list[Cleaned]:
    """Apply the policy to every study, and remove reproductions; what is going on is left alone.

    Models in the registry are copies of their own, which this never looks at.
    """
    return [
        *(_clean_study(home, name, policy, dry_run=dry_run) for name in _studies(home)),
        *(
            _remove(home.reproductions, name, dry_run=dry_run)
            for name in _studies(home.reproductions)
        ),
        *(_remove_arrays(home, directory, dry_run=dry_run) for directory in outdated(home)),
    ]


def _studies(home: Home) -> list[str]:
    """Names of what was searched in a home."""
    return sorted(path.name for path in home.study("").glob("*") if path.is_dir())


def _remove(home: Home, name: str, *, dry_run: bool) -> Cleaned:
    """Remove a reproduction whole: what it found was said, and nothing refers to it."""
    directory, shown = home.study(name), f"reproductions/{name}"
    lock = None if directory.is_symlink() else acquire(directory / LOCK)
    if lock is None:
        return Cleaned(shown, 0, 0, skipped="is going on, or leads elsewhere")
    try:
        files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
        networks = sum(path.name == _WEIGHTS for path in files)
        freed = sum(path.stat().st_size for path in files)
        if not dry_run:
            shutil.rmtree(directory)
    finally:
        os.close(lock)
    return Cleaned(shown, networks, freed)


def _remove_arrays(home: Home, directory: Path, *, dry_run: bool) -> Cleaned:
    """Remove arrays of a user's pictures, which are made anew when they are needed again."""
    shown = f"arrays/{directory.name}"
    if any(_is_searching(home, name, directory) for name in _studies(home)):
        return Cleaned(shown, 0, 0, skipped="a run that is going on needs them")
    freed = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    if not dry_run:
        shutil.rmtree(directory)
    return Cleaned(shown, 0, freed)


def _is_searching(home: Home, name: str, directory: Path) -> bool:
    """Whether a run that is going on reads a directory, or has not yet said what it reads."""
    lock, known = home.study(name) / LOCK, home.study(name) / RUN
    if not lock.exists():
        return False
    held = acquire(lock)
    if held is not None:
        os.close(held)
        return False
    return not known.exists() or directory.name in known.read_text(encoding="utf-8")


def losers(trials: list[Trial], policy: Policy) -> list[Trial]:
    """Those that the policy does not keep, of one engine's."""
    best = sorted((trial for trial in trials if trial.rungs), key=by_regret)
    newest = sorted(trials, key=lambda trial: trial.number, reverse=True)
    kept = {trial.number for trial in (*best[: policy.best], *newest[: policy.last])}
    return [trial for trial in trials if trial.number not in kept]


def _clean_study(home: Home, name: str, policy: Policy, *, dry_run: bool) -> Cleaned:
    try:
        begun = Begun.read(home, name)
        with begun.run.locked():
            lost = [t for trials in begun.trials().values() for t in losers(trials, policy)]
            removed, sizes = set(), {}  # by inode: MLflow's copy is the same file where it can be
            for trial, path in _weights(begun.run, lost):
                status = path.stat()
                sizes[status.st_ino] = status.st_size
                removed.add(trial.label)
                if not dry_run:
                    path.unlink()
    except UserError as error:
        return Cleaned(name, 0, 0, skipped=str(error))
    return Cleaned(name, len(removed), sum(sizes.values()))


def _weights(run: Run, trials: list[Trial]) -> Iterator[tuple[Trial, Path]]:
    """The weight files of trials that are there, in their study and in MLflow."""
    copies = _copies(run.home, run.name) if trials else {}
    root = run.home.root.resolve()
    for trial in trials:
        for directory in (trial.model, copies.get((trial.engine, str(trial.number), trial.stage))):
            path = directory / _WEIGHTS if directory else None
            if path and path.is_file() and path.resolve().is_relative_to(root):
                yield trial, path


def _copies(home: Home, study: str) -> dict[tuple[str, str, str], Path]:
    """Where MLflow keeps the networks of a study's trials; nowhere when a server keeps them."""
    if os.environ.get("MLFLOW_TRACKING_URI") or not home.mlflow_database.exists():
        return {}
    from pipeline_lib.tracking import open_store
    from pipeline_lib.tracking.recorder import runs_of_study
    from pipeline_lib.tracking.trials import key_of

    runs = runs_of_study(open_store(home), study)
    return {
        key_of(run.data.tags): Path(url2pathname(urlsplit(run.info.artifact_uri).path), "model")
        for run in runs
        if run.data.tags.get("automl.role") == "trial"
    }
