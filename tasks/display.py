"""What a person sees while a search runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline_lib.formats import short
from pipeline_lib.progress import Progress, Standing
from pipeline_lib.selection.compare import outcomes

CONSOLE = Console(stderr=True)
_LINE_SECONDS = 15.0
_LINES = 100  # about, beside those of new incumbents
_TOP = 10
_log = logging.getLogger("automl")


class ConsoleLines(logging.Handler):
    """Prints log lines on the console above a live table, as they are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
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


class PlainLines:
    """Logs how a search stands; on a terminal the live table says it all."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = time.monotonic()

    def say(self) -> None:
        """One line."""
        self._last = time.monotonic()
        if not CONSOLE.is_terminal:
            _log.info("%s", self._progress.look().line())

    def say_if_due(self) -> None:
        """One line, unless the last was a moment ago: an hour's log is to be read too."""
        if time.monotonic() - self._last >= max(_LINE_SECONDS, self._progress.budget / _LINES):
            self.say()


def print_outcome(outcome: dict[str, Any]) -> None:
    """The end of `automl run`, on stdout: leaderboard, winner, and where to look next."""
    out = Console(highlight=False, soft_wrap=True)
    winner, seconds = outcome["winner"], outcome["seconds"]
    out.print()
    out.print(_leaderboard(Path(outcome["leaderboard"])))
    for engine, tally in outcome["engines"].items():
        out.print(f"{engine}: {tally['trials']} trials conducted, {outcomes(tally)}")
    if outcome["ensemble"]:
        out.print(f"ensemble: {outcome['ensemble']['sentence']}")
    chosen = ", ".join(f"{name} {short(v)}" for name, v in winner["configuration"].items())
    out.print(f"\n[bold]Winner[/]      {winner['engine']} trial {winner['trial']}: {chosen}")
    out.print(f"[bold]Validation[/]  {winner['val_accuracy']:.2%}")
    out.print(f"[bold]Test[/]        {_tested(outcome)}")
    why = outcome["promotion"]["why"]
    for comparison in outcome["comparisons"]:
        if comparison["sentence"] not in why:  # it is said there
            out.print(f"[bold]Compared[/]    {comparison['sentence']}")
    for sentence in outcome["folds"]:
        out.print(f"[bold]Folds[/]       {sentence}")
    out.print(f"[bold]Model[/]       {outcome['model'] or outcome['challenger']}")
    role = "champion" if outcome["promotion"]["promoted"] else "challenger only"
    out.print(f"[bold]Standing[/]    {role}: {why}")
    if outcome["artifacts"]["diagram_pdf"]:
        out.print(f"[bold]Diagram[/]     {outcome['artifacts']['diagram_pdf']}")
    out.print(f"[bold]Report[/]      {outcome['report']}")
    out.print(f"[bold]Seconds[/]     {', '.join(f'{k} {v:.0f}' for k, v in seconds.items())}")
    out.print("\nBrowse it in Prefect and MLflow: [bold]automl up[/]")


def _tested(outcome: dict[str, Any]) -> str:
    winner = outcome["winner"]
    if winner["test_accuracy"] is None:
        return f"not opened: {outcome['untested']}"
    low, high = winner["test_interval"]
    interval = f"95 % interval {low:.2%} to {high:.2%}"
    return f"[bold green]{winner['test_accuracy']:.2%}[/]  ({interval})"


def _leaderboard(csv: Path) -> Table:
    import pandas as pd

    table = Table(title="Leaderboard", title_justify="left", title_style="bold", box=None)
    for column in ("rank", "trial", "stage", "state", "validation", "parameters", "seconds"):
        numeric = column in ("rank", "validation", "parameters", "seconds")
        table.add_column(column, justify="right" if numeric else "left")
    for row in pd.read_csv(csv).head(_TOP).itertuples():
        accuracy = f"{row.val_accuracy:.2%}" if pd.notna(row.val_accuracy) else "–"
        size = f"{int(row.parameters):,}" if pd.notna(row.parameters) else "–"
        table.add_row(
            str(row.rank),
            f"{row.engine} #{row.trial}",
            str(row.stage),
            str(row.state),
            accuracy,
            size,
            f"{row.seconds:.1f}",
        )
    return table


class _LiveTable:
    def __init__(self, searches: list[Progress]) -> None:
        self._searches = searches

    def __rich__(self) -> Group:
        standings = [progress.look() for progress in self._searches]
        return Group(*(_block(standing) for standing in standings))


def _block(standing: Standing) -> Table:
    table = Table.grid(padding=(0, 2))
    clock = f"{_clock(standing.elapsed)} of {_clock(standing.budget)}"
    bar = ProgressBar(total=1.0, completed=standing.share, width=28)
    table.add_row(Text(f"  {standing.engine}", style="bold"), bar, Text(clock, style="cyan"))
    tally = Text.assemble(
        (f"{standing.running} running", "yellow"),
        " · ",
        (f"{standing.complete} complete", "green"),
        f" · {standing.pruned} pruned · {standing.stopped} stopped · ",
        (f"{standing.failed} failed", "red" if standing.failed else ""),
    )
    table.add_row("", tally, Text(", ".join(standing.rungs), style="dim"))
    best = standing.incumbent
    if best is not None:
        found = f"{best.val_accuracy:.2%} on validation by trial {best.number}"
        table.add_row("", Text(f"incumbent {found}", style="bold green"), "")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
