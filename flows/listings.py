"""What the commands print that list something."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline_lib.cleaning import Cleaned
from pipeline_lib.config import SPACES, RunConfig, choice
from pipeline_lib.cores import available_cores
from pipeline_lib.data.prepared import status
from pipeline_lib.dot import find_dot
from pipeline_lib.engines.autopytorch import environment
from pipeline_lib.errors import AutomlError, UserError
from pipeline_lib.formats import short
from pipeline_lib.home import Home
from pipeline_lib.registry.promotion import Event, history
from pipeline_lib.registry.versions import model_name

_PACKAGES = ("torch", "torchvision", "optuna", "prefect", "mlflow", "torchviz", "pandas")
_WIDE = 240


def print_datasets(home: Home) -> None:
    """The catalogue: shapes, sizes, and what is on disk."""
    table = Table(box=None)
    for column in ("name", "what", "shape", "classes", "training", "test", "on disk"):
        table.add_column(column, justify="right" if column in ("training", "test") else "left")
    for entry in status(home):
        dataset = entry.dataset
        table.add_row(
            dataset.name,
            dataset.title,
            "×".join(map(str, dataset.shape)),
            str(len(dataset.classes)),
            f"{dataset.train_size:,}",
            f"{dataset.test_size:,}",
            f"{entry.size / 1e6:.0f} MB" if entry.on_disk else "no",
        )
    Console().print(table)


def print_doctor(home: Home) -> None:
    """One line for each thing that a run needs."""
    console = Console(highlight=False, soft_wrap=True)
    for good, what, found in _findings(home):
        mark = "[green]ok[/]     " if good else "[red]missing[/]"
        console.print(f"{mark} {what:<22} {found}")


def print_space(home: Home, engine: str, name: str, *, as_json: bool) -> None:
    """A search space as a table, or as one JSON array.

    Raises:
        ConfigurationError: The engine or its space is unknown.
        EngineUnavailable: The engine's environment cannot be built.
    """
    choice("engine", engine, SPACES)
    choice("space", name, SPACES[engine], whose=f" to {engine}")
    rows = _describe(home, engine, name)
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, title=f"{engine} · {name}", title_justify="left")
    for column in ("hyperparameter", "type", "range", "default", "only when"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        low_high = " … " if "Categorical" not in row["type"] else ", "
        scale = " log" if row["log"] else ""
        table.add_row(
            row["name"],
            row["type"].removeprefix("Uniform").lower(),
            low_high.join(short(value) for value in row["range"]) + scale,
            "" if row["default"] is None else short(row["default"]),
            "; ".join(str(condition).rpartition(" | ")[2] for condition in row["conditions"]),
        )
    Console(width=_WIDE).print(table)  # a name cut in two cannot be copied


def print_promotion(home: Home, dataset: str, event: Event) -> None:
    """Who is champion now, and the history, the latest first."""
    console = Console(highlight=False, soft_wrap=True)
    after = f" after version {event.replaced}" if event.replaced else ""
    console.print(f"Version {event.version} of {model_name(dataset)} is champion{after}\n")
    table = Table(box=None)
    for column in ("when (UTC)", "what", "version", "before", "by", "why"):
        table.add_column(column, no_wrap=column != "why")
    for past in reversed(history(home, dataset)):
        when = past.at[:19].replace("T", " ")
        before = str(past.replaced) if past.replaced else "–"
        table.add_row(when, past.action, str(past.version), before, past.by, Text(past.why))
    console.print(table)


def print_cleaned(studies: list[Cleaned], *, dry_run: bool) -> None:
    """A line for each study, and the bytes in all."""
    for study in studies:
        what = study.skipped or f"weights of {study.trials} trials, {study.freed / 1e6:.1f} MB"
        print(f"{study.study}: {what}")
    total = sum(study.freed for study in studies)
    print(f"{'would free' if dry_run else 'freed'} {total / 1e6:.1f} MB ({total} bytes)")


def print_reproduction(home: Home, name: str) -> bool:
    """Run it again, a line for each thing compared; whether all matched."""
    from pipeline_lib.reproduction import reproduce

    before, facts = reproduce(home, name, lambda line: print(line, file=sys.stderr))
    for fact in facts:
        print(f"{'same   ' if fact.matches else 'differs'} {fact.what:<24} {fact.found}")
    if not before.is_exact:
        print("Equal bits are promised with engine optuna, one worker and a count of trials only.")
    return all(fact.matches for fact in facts)


def install(home: Home, engine: str) -> None:
    """Make an engine able to run here, a line a step.

    Raises:
        ConfigurationError: There is no such engine.
        EngineUnavailable: It cannot run here; says what is missing.
    """
    from pipeline_lib.engines import make_engine

    choice("engine", engine, SPACES)
    home.ensure_writable()
    make_engine(engine, RunConfig(engine=engine), home).prepare(print)
    print(f"{engine} can run")


def _describe(home: Home, engine: str, name: str) -> list[dict[str, Any]]:
    if engine == "optuna":
        from pipeline_lib.engines.optuna_spaces import describe_space

        return describe_space(name, RunConfig().budget_seconds)
    from pipeline_lib.engines.autopytorch import engine as autopytorch

    home.ensure_writable()
    autopytorch.AutoPytorchEngine(home).prepare(lambda line: print(line, file=sys.stderr))
    rows: list[dict[str, Any]] = autopytorch.describe_space(home, name)["hyperparameters"]
    return rows


def _findings(home: Home) -> Iterator[tuple[bool, str, str]]:
    yield True, "python", platform.python_version()
    for package in _PACKAGES:
        try:
            yield True, package, version(package)
        except PackageNotFoundError:
            yield False, package, "not installed: make install"
    try:
        home.ensure_writable()
        yield True, "home", str(home.root)
    except AutomlError as error:
        yield False, "home", str(error)
    yield True, "cores", str(available_cores())
    yield True, "engine optuna", "can run"
    if environment.is_ready(home):
        yield True, "engine autopytorch", "can run"
    else:
        missing = environment.missing()
        found = (
            missing or "its environment is built on first use: automl engines install autopytorch"
        )
        yield missing is None, "engine autopytorch", found
    try:
        yield True, "dot", f"{find_dot()}, for diagrams"
    except UserError as error:
        yield False, "dot", f"{error.problem}; {error.remedy}"
    served = os.environ.get("PREFECT_API_URL") or "a server is started for each run"
    yield True, "prefect server", served
