"""What is there to search with: data sets, search spaces, engines; servers and upkeep."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.common import HomeOption, use_home
from pipeline_lib.names import ENGINES

_EngineArgument = Annotated[str, typer.Argument(help=f"{', '.join(ENGINES)}.")]


def up(
    prefect_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of Prefect's server and UI.")
    ] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of MLflow's UI.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    home: HomeOption = None,
) -> None:
    """Start Prefect, a worker and MLflow's UI, and keep them up until Ctrl-C."""
    from flows.up import up as keep_up

    keep_up(use_home(home), host=host, prefect_port=prefect_port, mlflow_port=mlflow_port)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keep_best: Annotated[
        int, typer.Option(min=1, help="Best trials to keep of each engine of a study.")
    ] = 20,
    keep_last: Annotated[
        int, typer.Option(min=0, help="Last trials to keep of each engine of a study.")
    ] = 100,
    home: HomeOption = None,
) -> None:
    """Remove weights of trials that lost, and arrays of data that changed since.

    Nothing of the registry, nor of a run that goes on, is removed.
    """
    from flows.listings import print_cleaned
    from pipeline_lib.run.gc import Policy, clean

    policy = Policy(keep_best, keep_last)
    print_cleaned(clean(use_home(home), policy, dry_run=dry_run), dry_run=dry_run)


def datasets(home: HomeOption = None) -> None:
    """List the data sets of the catalogue."""
    from flows.listings import print_datasets

    print_datasets(use_home(home))


def space(
    engine: _EngineArgument,
    name: Annotated[str, typer.Option("--space", help="Which of its spaces.")] = "default",
    family: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE.py", help="Which of Optuna's families of networks."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    home: HomeOption = None,
) -> None:
    """Show a search space: every hyperparameter, its range and its default."""
    from flows.listings import print_space

    print_space(use_home(home), engine, name, family, as_json=json)


def install_engine(engine: _EngineArgument, home: HomeOption = None) -> None:
    """Build the environment that an engine runs in; at once where it stands."""
    from flows.listings import install

    install(use_home(home), engine)


def doctor(home: HomeOption = None) -> None:
    """Say what is installed, which engines can run, on what, and what is missing."""
    from flows.doctor import print_doctor

    print_doctor(use_home(home))
