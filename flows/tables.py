"""What the commands print that compare runs, trials and models."""

from __future__ import annotations

import sys

from pipeline_lib.home import Home
from tasks.display import leaderboard_table
from tasks.text import Page


def print_runs(home: Home) -> None:
    """Every run, the one that began last first."""
    from pipeline_lib.run.runs import list_runs

    listed = list_runs(home)
    page = Page(sys.stdout)
    if not listed:
        page.say(f"No run yet in {home.root}: automl run mnist")
        return
    rows = [
        (
            run.name,
            run.dataset or "–",
            run.state,
            run.best or "–",
            f"v{run.champion}" if run.champion else "–",
        )
        for run in listed
    ]
    page.table(("name", "data", "state", "best", "champion"), rows, numeric=("best",))


def print_leaderboard(home: Home, name: str | None, top: int) -> None:
    """The best trials of a run.

    Raises:
        UserError: There is no such run.
    """
    from pipeline_lib.run.runs import trials_of
    from pipeline_lib.selection.leaderboard import leaderboard

    chosen, trials = trials_of(home, name)
    frame = leaderboard(trials)
    page = Page(sys.stdout)
    page.say(f"{chosen}: {min(top, len(frame))} of {len(frame)} trials")
    if len(frame):
        leaderboard_table(page, frame.head(top))


def print_champions(home: Home, dataset: str | None) -> None:
    """The champion of a data set, or of every one.

    Raises:
        UserError: There is none.
    """
    from pipeline_lib.registry.champions import list_champions

    rows = [
        (
            reign.model,
            f"v{reign.version}",
            reign.validation or "–",
            reign.test or "–",
            reign.run,
            reign.since,
            reign.by,
        )
        for reign in list_champions(home, dataset)
    ]
    head = ("model", "version", "validation", "test", "run", "since (UTC)", "by")
    Page(sys.stdout).table(head, rows, numeric=("validation", "test"))
