"""What a person sees while a search runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline_lib.formats import short
from pipeline_lib.metrics import ACCURACY, metric_of
from pipeline_lib.run.progress import SHOWN_LIVE, Progress, Snapshot
from pipeline_lib.selection.leaderboard import NUMERIC, outcomes, texts
from pipeline_lib.trial import ENSEMBLE
from tasks.text import JOINED, Page

if TYPE_CHECKING:
    import pandas as pd

CONSOLE = Console(stderr=True)
_TOP = 10
_LABEL = 12  # characters, with the space after it
_BAR = 40
_RUNGS = 4  # that fit a line


class ConsoleLines(logging.Handler):
    """Prints log lines on the console above a live table, as they are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, unless the live table shows the same."""
        if CONSOLE.is_terminal and getattr(record, SHOWN_LIVE, False):
            return
        CONSOLE.print(record.getMessage(), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def showing(searches: list[Progress]) -> Iterator[None]:
    """Keep a live table of these searches on the terminal; does nothing where there is none."""
    if not CONSOLE.is_terminal:
        yield
        return
    table = _LiveTable(searches)
    with Live(table, console=CONSOLE, refresh_per_second=4, transient=True):
        yield


def leave_terminal() -> None:
    """Show the cursor again, which a live table hides; for a process that ends at once."""
    CONSOLE.show_cursor()


def print_outcome(outcome: dict[str, Any], file: TextIO) -> None:
    """The end of `automl run`: leaderboard, winner, and where to look next."""
    import pandas as pd

    page = Page(file)
    page.say()
    page.say("Leaderboard", style="bold")
    leaderboard_table(page, pd.read_csv(outcome["leaderboard"]).head(_TOP))
    for engine, tally in outcome["engines"].items():
        page.say(f"{engine}: {tally['trials']} trials conducted, {outcomes(tally)}")
    if outcome["ensemble"]:
        page.say(f"ensemble: {outcome['ensemble']['sentence']}")
    page.say()
    for label, text in _facts(outcome):
        page.say(text, label=f"{label:<{_LABEL}}")
    page.say()
    page.say("Browse it in Prefect and MLflow: automl up")


def _facts(outcome: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said of the winner, each with its label."""
    winner, seconds = outcome["winner"], outcome["seconds"]
    chosen = (f"{name}{JOINED}{short(v)}" for name, v in winner["configuration"].items())
    who = f"{winner['engine']} trial {winner['trial']}"
    if winner["engine"] == ENSEMBLE:
        who = f"ensemble of {len(winner['configuration'])} models"
    yield "Winner", f"{who}: {', '.join(chosen)}"
    yield "Validation", _validated(winner)
    yield "Test", _tested(outcome)
    why = outcome["promotion"]["why"]
    for comparison in outcome["comparisons"]:
        if comparison["sentence"] not in why:  # it is said there
            yield "Compared", comparison["sentence"]
    for sentence in outcome["folds"]:
        yield "Folds", sentence
    yield "Model", outcome["model"] or outcome["challenger"]
    promoted = outcome["promotion"]["promoted"]
    yield "Promotion", f"registered as champion ({why})" if promoted else f"not promoted: {why}"
    if outcome["artifacts"]["diagram_pdf"]:
        yield "Diagram", outcome["artifacts"]["diagram_pdf"]
    yield "Report", outcome["report"]
    yield "Seconds", ", ".join(f"{name} {spent:.0f}" for name, spent in seconds.items())


def _tested(outcome: dict[str, Any]) -> str:
    winner = outcome["winner"]
    if winner["test_accuracy"] is None:
        return f"not opened: {outcome['untested']}"
    return str(winner["test_text"])


def _validated(winner: dict[str, Any]) -> str:
    """Its value, and its accuracy where that is another."""
    metric = metric_of(winner["metric"])
    accuracy = "" if metric == ACCURACY else f", {ACCURACY.text(winner['val_accuracy'])} accuracy"
    return f"{metric.phrase(winner['value'])}{accuracy}"


def leaderboard_table(page: Page, frame: pd.DataFrame) -> None:
    """Write a leaderboard, numbers aligned."""
    page.table(*texts(frame), NUMERIC)


class _LiveTable:
    def __init__(self, searches: list[Progress]) -> None:
        self._searches = searches

    def __rich__(self) -> Table:
        """One block an engine, all in the same columns."""
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=_LABEL + 2, no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for progress in self._searches:
            for label, line in _block(progress.look()):
                table.add_row(label, line)
        return table


def _block(snapshot: Snapshot) -> Iterator[tuple[Text, RenderableType]]:
    clock = Text(f"{_clock(snapshot.elapsed)} of {_clock(snapshot.budget)}", style="cyan")
    bar = ProgressBar(total=1.0, completed=snapshot.share, width=_BAR)
    first = Table.grid(padding=(0, 2, 0, 0))
    first.add_row(bar, clock)
    yield Text(snapshot.engine, style="bold"), first
    yield (
        Text(),
        Text.assemble(
            (f"{snapshot.running} running", "yellow"),
            " · ",
            (f"{snapshot.complete} complete", "green"),
            f" · {snapshot.pruned} pruned · {snapshot.stopped} stopped · ",
            (f"{snapshot.failed} failed", "red" if snapshot.failed else ""),
        ),
    )
    if snapshot.rungs:
        more = len(snapshot.rungs) - _RUNGS
        shown_rungs = ", ".join(snapshot.rungs[:_RUNGS]) + (f" and {more} more" if more > 0 else "")
        yield Text(), Text(shown_rungs, style="dim")
    best = snapshot.incumbent
    if best is not None:
        found = f"incumbent: trial {snapshot.best}, {best.text} validation {best.metric.title}"
        yield Text(), Text(found, style="bold green")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
