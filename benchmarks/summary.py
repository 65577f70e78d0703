"""The results as one Markdown table a part, and as a picture."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.results import Result, Table, read_all


def write_summary(parts: dict[str, ModuleType], directory: Path) -> str:
    """Write `table.md` and `accuracy.svg` beside the results; returns the Markdown."""
    from benchmarks.plot import plot

    documents = read_all(directory)
    sections = [_section(documents[p], module) for p, module in parts.items() if p in documents]
    picture = "![Accuracy against seconds](accuracy.svg)" if plot(documents, directory) else ""
    text = "\n\n".join(filter(None, ["# Results", _headline(documents), picture, *sections])) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "table.md").write_text(text, encoding="utf-8")
    return text


def _headline(documents: dict[str, Result]) -> str:
    """How many times as long the chapter's study takes to its accuracy, where both are measured."""
    if not {"chapter", "time-to"} <= documents.keys():
        return ""
    pair = documents["chapter"], documents["time-to"]
    theirs = pair[0]["result"]["study_seconds"]
    target, ours = next(iter(pair[1]["result"]["targets"].items()))
    if ours is None:
        return ""
    kinds = [(d["machine"]["cpu"], d["machine"]["cpu_flags"]) for d in pair]
    ratio = (
        f"{theirs / ours['search']:.0f} times the search ({theirs / ours['wall']:.0f} times all)"
        if kinds[0] == kinds[1]
        else "on a machine of another kind, so that there is no ratio"
    )
    return (
        f"To {float(target):.2%} honest test accuracy: {ours['search']:.1f} s of search and finals "
        f"({ours['wall']:.1f} s from the command to its end). The chapter's study: {theirs:.0f} s, "
        f"{ratio}."
    )


def _section(document: Result, module: ModuleType) -> str:
    title = (module.__doc__ or "").splitlines()[0].rstrip(".")
    note = document["result"].get("note", "")
    pieces = [f"## {title}", note, markdown(module.table(document["result"])), _small(document)]
    return "\n\n".join(filter(None, pieces))


def markdown(table: Table) -> str:
    """A table in Markdown."""
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _small(document: dict[str, Any]) -> str:
    """When, where, how big."""
    machine = document["machine"]
    size = ", ".join(f"{name} {value}" for name, value in document["size"].items())
    return (
        f"<sub>{document['at']} · {document['seconds']:.0f} s · {size} · {machine['cores']} cores, "
        f"{machine['cpu']} ({', '.join(machine['cpu_flags'])}) · sgemm "
        f"{machine['sgemm_gflops_one_thread']} GFLOP/s on one thread, "
        f"{machine['sgemm_gflops_all_cores']} on all · load {machine['load_before']} before, "
        f"{machine['load_after']} after · torch {machine['torch']} · "
        f"{machine['commit'][:10]}</sub>"
    )
