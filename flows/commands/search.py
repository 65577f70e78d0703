"""`automl run`, whose options are the fields of the configuration, and what repeats a run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.commands.common import HomeOption, NamedRunArgument, use_home
from flows.parameters import takes_the_options

_DataArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A deployment of prefect.yaml, else a data set of the catalogue or of torchvision, "
        "else a folder of class folders, a .csv, .parquet or .npz file, or FILE.py:FUNCTION "
        "(docs/data.md); may be left out with --config.",
        show_default=False,
    ),
]
_ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file of fields of the configuration, such as the run.yaml of a run; "
        "options win over it.",
    ),
]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@takes_the_options
def run(
    data: _DataArgument = None,
    *,
    config: _ConfigOption = None,
    json: _JsonOption = False,
    home: HomeOption = None,
    **fields: Any,
) -> None:
    """Search for the best model within a budget, evaluate it and register it."""
    from flows.running import run_here

    use_home(home)
    given = {name: value for name, value in fields.items() if value is not None}
    run_here(data, given, file=config, as_json=json)


def sync(run: NamedRunArgument, home: HomeOption = None) -> None:
    """Record in MLflow what it missed of a run, from the engines' own storages."""
    from pipeline_lib.run.sync import sync as record_again

    for engine, trials in record_again(use_home(home), run).items():
        typer.echo(f"{engine}: {trials} trials are in MLflow")


def reproduce(run: NamedRunArgument, home: HomeOption = None) -> None:
    """Search again as a recorded run did, and say what matched. The test set stays closed."""
    from flows.listings import print_reproduction

    if not print_reproduction(use_home(home), run):
        raise typer.Exit(1)
