"""The command `automl`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.output import outlive_readers
from flows.settings import settle
from pipeline_lib.errors import AutomlError, HomeError, Stopped, UserError
from pipeline_lib.memory import hurry
from pipeline_lib.stopping import STOPPED

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="State directory. [default: AUTOML_HOME, else .automl]"),
]

_ENDS = (
    "Ctrl-C, SIGTERM or SIGHUP end the search, and what it found is finished: after SIGTERM or "
    "SIGHUP within 20 s, or it is kept for the next run of that name. A second Ctrl-C or SIGTERM "
    "ends the run at once. Exit code: 0 with a finished result, 1 after a failure, 2 where the "
    "mistake is yours to mend, 130 where the run was stopped without a result."
)

app = typer.Typer(
    name="automl",
    help="Searches a classifier for a labelled data set and measures it honestly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
engines_app = typer.Typer(
    no_args_is_help=True, help="The engines' own environments.", rich_markup_mode=None
)
app.add_typer(engines_app, name="engines")


@app.command(epilog=_ENDS)
def run(
    preset: Annotated[str, typer.Argument(help="A deployment of prefect.yaml, or a data set.")],
    engine: Annotated[str | None, typer.Option(help="Engine: all, optuna or autopytorch.")] = None,
    budget: Annotated[str | None, typer.Option(help="Duration such as 90s, 10m, 2h.")] = None,
    trials: Annotated[int | None, typer.Option(help="Search trials at most.")] = None,
    sampler: Annotated[str | None, typer.Option(help="tpe, cmaes or random.")] = None,
    space: Annotated[
        str | None, typer.Option(help="default, book, or one of an engine's own.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time. [default: cores]")] = None,
    seed: Annotated[str | None, typer.Option(help="Of the search; 'random' draws one.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Seed of the split.")] = None,
    warm_start: Annotated[str | None, typer.Option(help="Runs to start from, or 'past'.")] = None,
    name: Annotated[str | None, typer.Option(help="Study; an existing one is continued.")] = None,
    data: Annotated[str | None, typer.Option(help="Directory in torchvision's layout.")] = None,
    promote: Annotated[str | None, typer.Option(help="significant, better or never.")] = None,
    test: Annotated[str | None, typer.Option(help="promotion, always or never.")] = None,
    validation_folds: Annotated[
        int | None, typer.Option(help="Train the best again on so many folds, to compare them.")
    ] = None,
    ensemble: Annotated[int | None, typer.Option(help="Models in it at most; 1: none.")] = None,
    notify: Annotated[
        str | None, typer.Option(help="Whom to tell of the end: https://…, slack://…, env:NAME.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
    home: HomeOption = None,
) -> None:
    """Search, compare, decide, test, register: the flow of the deployments, in this terminal."""
    options = locals().copy()
    from flows.running import run_here

    _use_home(home)
    fields = options.keys() - {"preset", "json", "home"}
    given = {name: options[name] for name in fields if options[name] is not None}
    run_here(preset, given, as_json=json)


@app.command()
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
    from pipeline_lib.home import Home

    _use_home(home)
    keep_up(Home.from_environment(), host=host, prefect_port=prefect_port, mlflow_port=mlflow_port)


@app.command()
def report(
    run: Annotated[str | None, typer.Argument(help="Name of a run. [default: the latest]")] = None,
    home: HomeOption = None,
) -> None:
    """Write the report and the model card of a run again, and say where they are."""
    from pipeline_lib.home import Home
    from pipeline_lib.report.files import latest, load, write

    _use_home(home)
    here = Home.from_environment()
    name = run or latest(here)
    for path in write(here.run(name), load(here, name)):
        typer.echo(path)


@app.command()
def dashboard(
    run: Annotated[str | None, typer.Argument(help="Name of a run. [default: the latest]")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8080,
    home: HomeOption = None,
) -> None:
    """Look at a run's Optuna study in optuna-dashboard, while it searches or later."""
    from flows.dashboard import show
    from pipeline_lib.home import Home

    _use_home(home)
    show(Home.from_environment(), run, port)


@app.command()
def sync(
    run: Annotated[str, typer.Argument(help="Name of a run.")], home: HomeOption = None
) -> None:
    """Record in MLflow what it missed of a run, from the engines' own storages."""
    from pipeline_lib.home import Home
    from pipeline_lib.sync import sync as record_again

    _use_home(home)
    for engine, trials in record_again(Home.from_environment(), run).items():
        typer.echo(f"{engine}: {trials} trials are in MLflow")


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="Name of a run that MLflow has.")],
    home: HomeOption = None,
) -> None:
    """Search again as a recorded run did, and say what matched. The test set stays closed."""
    from flows.listings import print_reproduction
    from pipeline_lib.home import Home

    _use_home(home)
    if not print_reproduction(Home.from_environment(), run):
        raise typer.Exit(1)


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    keep_best: Annotated[int, typer.Option(min=1, help="Of each engine of a study.")] = 20,
    keep_last: Annotated[int, typer.Option(min=0, help="Of each engine of a study.")] = 100,
    home: HomeOption = None,
) -> None:
    """Remove the weights of trials that lost; never the registry's, nor of a run that goes on."""
    from flows.listings import print_cleaned
    from pipeline_lib.cleaning import Policy, clean
    from pipeline_lib.home import Home

    _use_home(home)
    policy = Policy(keep_best, keep_last)
    print_cleaned(clean(Home.from_environment(), policy, dry_run=dry_run), dry_run=dry_run)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="models:/automl-mnist@champion, or a data set.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, WebP, TIFF, BMP or GIF.")],
    home: HomeOption = None,
) -> None:
    """Classify images with a registered model."""
    from pipeline_lib.home import Home
    from pipeline_lib.registry.prediction import classify

    _use_home(home)
    for answer in classify(Home.from_environment(), model, images):
        typer.echo(f"{answer.path}  {answer.label}  {answer.probability:.1%}")
        if answer.remarks:
            typer.echo(f"{answer.path} {', '.join(answer.remarks)}", err=True)


@app.command()
def promote(
    dataset: Annotated[str, typer.Argument(help="A data set of the catalogue.")],
    version: Annotated[int | None, typer.Argument(help="[default: the challenger]")] = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "by hand",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Compare a registered version with the champion, ask, and make it champion."""
    from flows.promoting import promote_by_hand
    from pipeline_lib.home import Home

    _use_home(home)
    promote_by_hand(Home.from_environment(), _known(dataset), version, why, yes=yes)


@app.command()
def rollback(
    dataset: Annotated[str, typer.Argument(help="A data set of the catalogue.")],
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "by hand",
    home: HomeOption = None,
) -> None:
    """Make the champion before this one champion again, and show who was."""
    from flows.listings import print_promotion
    from pipeline_lib.home import Home
    from pipeline_lib.registry.promotion import rollback as step_back

    _use_home(home)
    here, name = Home.from_environment(), _known(dataset)
    print_promotion(here, name, step_back(here, name, why))


@app.command()
def datasets(home: HomeOption = None) -> None:
    """List the data sets of the catalogue."""
    from flows.listings import print_datasets
    from pipeline_lib.home import Home

    _use_home(home)
    print_datasets(Home.from_environment())


@app.command()
def space(
    engine: Annotated[str, typer.Argument(help="optuna or autopytorch.")],
    name: Annotated[str, typer.Option("--space", help="Which of its spaces.")] = "default",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    home: HomeOption = None,
) -> None:
    """Show a search space: every hyperparameter, its range and its default."""
    from flows.listings import print_space
    from pipeline_lib.home import Home

    _use_home(home)
    print_space(Home.from_environment(), engine, name, as_json=json)


@engines_app.command("install")
def install_engine(
    engine: Annotated[str, typer.Argument(help="autopytorch.")], home: HomeOption = None
) -> None:
    """Build the environment that an engine runs in; at once where it stands."""
    from flows.listings import install
    from pipeline_lib.home import Home

    _use_home(home)
    install(Home.from_environment(), engine)


@app.command()
def doctor(home: HomeOption = None) -> None:
    """Say what is installed, which engines can run, and what is missing."""
    from flows.listings import print_doctor
    from pipeline_lib.home import Home

    _use_home(home)
    print_doctor(Home.from_environment())


def main() -> None:
    """Run the command; what is the user's to mend is one line and exit code 2, a stop 130."""
    outlive_readers()
    hurry()
    settle()
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except Stopped as error:
        typer.echo(str(error), err=True)
        sys.exit(STOPPED)
    except AutomlError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        problem = HomeError.of(error)
        if problem is None:
            raise
        typer.echo(f"error: {problem}", err=True)
        sys.exit(2)


def _known(dataset: str) -> str:
    from pipeline_lib.data.catalogue import find

    return find(dataset).name


def _use_home(home: Path | None) -> None:
    """Make `--home` what every library call and child process reads."""
    if home is not None:
        os.environ["AUTOML_HOME"] = str(home.absolute())
