"""The command `automl`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.commands import models, results, search, setup
from flows.commands.help import GroupedCommand, GroupedCommands
from flows.loading import announcing_imports
from flows.output import outlive_readers
from flows.settings import settle
from pipeline_lib.errors import AutomlError, HomeError, Stopped, UserError
from pipeline_lib.home import settle_home_directory
from pipeline_lib.run.stopping import STOPPED
from pipeline_lib.training.memory import tune_process

_COMMANDS = {
    "Search": {"run": search.run, "reproduce": search.reproduce, "sync": search.sync},
    "Results": {
        "runs": results.runs,
        "leaderboard": results.leaderboard,
        "open": results.open_report,
        "report": results.report,
        "dashboard": results.dashboard,
    },
    "Models": {
        "champion": models.champion,
        "predict": models.predict,
        "promote": models.promote,
        "rollback": models.rollback,
    },
    "Servers and set-up": {
        "up": setup.up,
        "datasets": setup.datasets,
        "space": setup.space,
        "doctor": setup.doctor,
        "gc": setup.gc,
    },
}

_ENDS = (
    "Ctrl-C, SIGTERM or SIGHUP end the search, and what it found is finished: after SIGTERM or "
    "SIGHUP within 20 s, or it is kept for the next run of that name. A second Ctrl-C or SIGTERM "
    "ends the run at once. Exit code: 0 with a finished result, 1 after a failure, 2 where the "
    "mistake is yours to mend, 130 where the run was stopped without a result."
)

app = typer.Typer(
    name="automl",
    cls=GroupedCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
engines_app = typer.Typer(
    cls=GroupedCommands,
    no_args_is_help=True,
    help="The engines' own environments.",
    rich_markup_mode=None,
)
for _group, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        _epilog = _ENDS if _command is search.run else None
        app.command(_name, cls=GroupedCommand, rich_help_panel=_group, epilog=_epilog)(_command)
engines_app.command("install", cls=GroupedCommand)(setup.install_engine)
app.add_typer(engines_app, name="engines", rich_help_panel="Servers and set-up")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"automl {version('automl')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_version,
                     is_eager=True),
    ] = False,
) -> None:  # fmt: skip
    """Search a classifier for a labelled data set and measure it honestly."""


def main() -> None:
    """Run the command; what is the user's to mend is one line and exit code 2, a stop 130."""
    outlive_readers()
    tune_process()
    settle_home_directory()
    settle()
    try:
        with announcing_imports():
            app()
    except Stopped as error:
        typer.echo(str(error), err=True)
        sys.exit(STOPPED)
    except AutomlError as error:
        _say(error)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except OSError as error:
        problem = HomeError.of(error)
        if problem is None:
            raise
        _say(problem)
        sys.exit(2)


def _say(error: AutomlError) -> None:
    """The error in one line, and where to read more, where that is known."""
    for line in (f"error: {error}", *getattr(error, "__notes__", ())):
        typer.echo(line, err=True)
