"""What commands share: where the state is, and the name of a run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pipeline_lib.home import Home, user_path


def _run_names(incomplete: str) -> list[str]:
    """Names of runs that a shell offers; it knows no `--home`."""
    runs = Home.from_environment().root / "runs"
    names = sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
    return [name for name in names if name.startswith(incomplete)]


HomeOption = Annotated[
    str | None,
    typer.Option(
        "--home", metavar="DIR", help="State directory. [default: AUTOML_HOME, else .automl]"
    ),
]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="Name of a run. [default: the latest]",
        show_default=False,
        autocompletion=_run_names,
    ),
]
NamedRunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Name of a run.", autocompletion=_run_names)
]


def use_home(given: str | None) -> Home:
    """The home of a command; `--home` is made what every library call and child process reads."""
    if given is not None:
        os.environ["AUTOML_HOME"] = str(user_path("home", given))
    return Home.from_environment()
