"""What runs found: their list, leaderboards, reports and studies."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.common import HomeOption, RunArgument, use_home


def runs(home: HomeOption = None) -> None:
    """List the runs, the latest first."""
    from flows.tables import print_runs

    print_runs(use_home(home))


def leaderboard(
    run: RunArgument = None,
    top: Annotated[int, typer.Option(min=1, help="Number of trials to show.")] = 20,
    home: HomeOption = None,
) -> None:
    """Rank the trials of a run by validation accuracy, while it searches or later."""
    from flows.tables import print_leaderboard

    print_leaderboard(use_home(home), run, top)


def open_report(run: RunArgument = None, home: HomeOption = None) -> None:
    """Open the report of a run in the browser, or print its address where there is none."""
    from pipeline_lib.run.runs import report_of

    page = report_of(use_home(home), run).as_uri()
    typer.echo(page)
    _browse(page)


def report(run: RunArgument = None, home: HomeOption = None) -> None:
    """Write the report and the model card of a run again, and say where they are."""
    from pipeline_lib.report.files import latest
    from pipeline_lib.report.making import make_report

    here = use_home(home)
    name = run or latest(here)
    for path in make_report(here, name):
        typer.echo(path)


def dashboard(
    run: RunArgument = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8080,
    home: HomeOption = None,
) -> None:
    """Show a run's Optuna study in optuna-dashboard, while it searches or later."""
    from flows.dashboard import show

    show(use_home(home), run, port)


def _browse(address: str) -> None:
    """Open an address; not in a browser that would take the terminal."""
    import os
    import sys
    import webbrowser

    if sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"} & os.environ.keys():
        webbrowser.open(address)
