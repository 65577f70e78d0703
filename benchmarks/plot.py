"""Accuracy against seconds, both on axes that show what is close to the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Result

_TICKS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.997, 0.998)
_CHAPTER_PRINTS = 0.9877
_COLOURS = ("#888888", "#d98c00", "#0b6bcb", "#b0306a", "#1a8a4a")


def plot(documents: dict[str, Result], directory: Path) -> bool:
    """Draw `accuracy.svg` of the results that have accuracies; whether there are any."""
    if not documents.keys() & {"chapter", "time-to", "chapter-budget", "search", "peer"}:
        return False
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "automl", "font.size": 10}):
        figure = Figure(figsize=(12, 5), layout="constrained")
        FigureCanvasSVG(figure)
        tested, searched = figure.subplots(1, 2)
        _tested(tested, {part: d["result"] for part, d in documents.items()})
        _searched(searched, documents.get("search", {}).get("result"))
        for axes in (tested, searched):
            _finish(axes)
        figure.savefig(directory / "accuracy.svg", metadata={"Date": None})
    return True


def _height(accuracy: Any) -> Any:
    """Equal steps for equal factors of the error."""
    return -np.log10(1 - np.clip(np.asarray(accuracy, dtype=float), 0.0, 0.9999))


def _tested(axes: Any, results: dict[str, Result]) -> None:
    axes.set_title("Test accuracy against wall seconds")
    runs = [*results.get("time-to", {}).get("runs", [])]
    runs += [results["chapter-budget"]] if "chapter-budget" in results else []
    if runs:
        seconds = [run["wall"] for run in runs]
        accuracies = [run["test_accuracy"] for run in runs]
        label = "automl run, from cold"
        axes.plot(seconds, _height(accuracies), "o", color=_COLOURS[2], label=label)
    ran = {n: p for n, p in results.get("peer", {}).get("peers", {}).items() if "seconds" in p}
    for colour, (name, peer) in zip((_COLOURS[1], _COLOURS[4]), ran.items(), strict=False):
        at = peer["seconds"], _height(peer["test_accuracy"])
        axes.plot(*at, "^", color=colour, label=f"{name} on pixels")
    if "chapter" in results:
        _chapter(axes, results["chapter"])


def _chapter(axes: Any, chapter: Result) -> None:
    """The study's point: as measured, or as printed in the chapter where it was extrapolated."""
    cut = chapter["extrapolated"]
    accuracy = _CHAPTER_PRINTS if cut else chapter["test_selected_accuracy"]
    kind = "accuracy as printed, seconds extrapolated" if cut else "selected on the test set"
    fill = "none" if cut else _COLOURS[3]
    label = f"the chapter's study ({kind})"
    axes.plot(
        chapter["study_seconds"], _height(accuracy), "s", color=_COLOURS[3], mfc=fill, label=label
    )


def _searched(axes: Any, search: Result | None) -> None:
    axes.set_title("Best validation accuracy against seconds of search")
    if search is None:
        return
    grid = np.asarray(search["grid"])
    for colour, (name, band) in zip(_COLOURS, search["bands"].items(), strict=True):
        low, middle, high = (np.array([b[k] for b in band]) for k in ("min", "median", "max"))
        known = low > 0
        axes.fill_between(
            grid[known], _height(low[known]), _height(high[known]), color=colour, alpha=0.15
        )
        axes.plot(grid[known], _height(middle[known]), color=colour, label=name)


def _finish(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(_height(_TICKS), [f"{tick:.1%}" for tick in _TICKS])
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8)
