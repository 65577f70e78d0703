"""What the commands print that list something."""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.data.sources.catalogued import status
from pipeline_lib.errors import EngineUnavailable
from pipeline_lib.formats import short
from pipeline_lib.home import Home
from pipeline_lib.options import choice
from pipeline_lib.registry.promotion import Event, history
from pipeline_lib.registry.versions import model_name
from pipeline_lib.run.gc import Cleaned
from pipeline_lib.search.engine import find_engine
from tasks.text import JOINED, Page


def print_datasets(home: Home) -> None:
    """The catalogue: shapes, sizes, and what is on disk."""
    rows = [
        (
            entry.dataset.name,
            entry.dataset.title,
            "×".join(map(str, entry.dataset.shape)),
            str(len(entry.dataset.classes)),
            f"{entry.dataset.train_size:,}",
            f"{entry.dataset.test_size:,}",
            f"{entry.size / 1e6:.0f} MB" if entry.on_disk else "no",
        )
        for entry in status(home)
    ]
    numeric = ("classes", "training", "test", "on disk")
    Page(sys.stdout).table(("name", "what", "shape", *numeric), rows, numeric)


def print_space(
    home: Home, engine: str, name: str, family: list[str] | None, *, as_json: bool
) -> None:
    """A search space as a table, or as one JSON array.

    Raises:
        ConfigurationError: The engine, its space or a family is unknown.
        FamilyError: A user's file is wrong; names its line and the cause.
        EngineUnavailable: The engine's environment cannot be built.
    """
    choice("space", name, find_engine(engine).spaces, whose=f" to {engine}")
    config = RunConfig.parse(
        {"engine": engine, "space": name} | ({"family": family} if family else {})
    )
    rows = _describe(home, config)
    if as_json:
        print(json.dumps(rows))
        return
    head = ("hyperparameter", "type", "range", "default", "condition")
    Page(sys.stdout).table(head, map(_described, rows))


def _described(row: dict[str, Any]) -> tuple[str, ...]:
    is_number = "Categorical" not in row["type"]
    low_high = f"{JOINED}…{JOINED}" if is_number else ", "
    scale = f"{JOINED}log" if row["log"] else ""
    return (
        row["name"],
        row["type"].removeprefix("Uniform").lower(),
        low_high.join(short(value) for value in row["range"]) + scale,
        "" if row["default"] is None else short(row["default"]),
        "; ".join(dict.fromkeys(_condition(row["name"], text) for text in row["conditions"])),
    )


def _condition(name: str, text: str) -> str:
    """A condition of ConfigSpace, which says before each part of it whose condition it is."""
    parts = text.replace(f"{name} | ", "").replace("&&", "and").replace("||", "or")
    return parts[1:-1] if parts.startswith("(") and parts.endswith(")") else parts


def print_promotion(home: Home, dataset: str, event: Event) -> None:
    """Who is champion now, and the history, the latest first."""
    page = Page(sys.stdout)
    after = f" after version {event.replaced}" if event.replaced else ""
    page.say(f"Version {event.version} of {model_name(dataset)} is champion{after}")
    page.say()
    rows = [
        (
            past.at[:19].replace("T", " "),
            past.action,
            str(past.version),
            str(past.replaced) if past.replaced else "–",
            past.by,
            past.why,
        )
        for past in reversed(history(home, dataset))
    ]
    numeric = ("version", "before")
    page.table(("when (UTC)", "what", *numeric, "by", "why"), rows, numeric)


def print_cleaned(studies: list[Cleaned], *, dry_run: bool) -> None:
    """A line for each study, and the bytes in all."""
    for study in studies:
        what = study.skipped or f"weights of {study.trials} trials, {study.freed / 1e6:.1f} MB"
        print(f"{study.study}: {what}")
    total = sum(study.freed for study in studies)
    print(f"{'would free' if dry_run else 'freed'} {total / 1e6:.1f} MB ({total} bytes)")


def print_reproduction(home: Home, name: str) -> bool:
    """Have it again, a line for each thing compared; whether nothing differs."""
    from pipeline_lib.run.agreement import Verdict
    from pipeline_lib.run.reproduce import reproduce

    facts = reproduce(home, name, lambda line: print(line, file=sys.stderr, flush=True))
    for fact in facts:
        print(f"{fact.verdict:<8}{fact.what:<24} {fact.found}")
    return all(fact.verdict is not Verdict.DIFFERS for fact in facts)


def install(home: Home, engine: str) -> None:
    """Make an engine able to run here, a line a step.

    Raises:
        ConfigurationError: There is no such engine.
        EngineUnavailable: It cannot run here; says what is missing.
    """
    made = find_engine(engine).of(RunConfig(engine=engine), home)
    home.ensure_writable()
    made.prepare(print)
    print(f"{engine} can run")


def _describe(home: Home, config: RunConfig) -> list[dict[str, Any]]:
    """The hyperparameters of an engine's space; what it needs for that is built first."""
    engine, space = find_engine(config.engine).of(config, home), config.space
    try:
        return engine.describe(space, config.budget_seconds)
    except EngineUnavailable:
        home.ensure_writable()
        engine.prepare(lambda line: print(line, file=sys.stderr))
        return engine.describe(space, config.budget_seconds)
