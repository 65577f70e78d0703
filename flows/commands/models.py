"""The registered models: who is champion, who becomes it, and what it says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import HomeOption, use_home
from pipeline_lib.home import Home

_DatasetArgument = Annotated[str, typer.Argument(help="A data set.")]
_WhyOption = Annotated[str, typer.Option(help="Kept in the history.")]


def champion(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A data set. [default: every champion]", show_default=False
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show which version of a model is champion, how good it is, and since when."""
    from flows.tables import print_champions

    here = use_home(home)
    print_champions(here, name and _known(here, name))


def predict(
    model: Annotated[str, typer.Argument(help="models:/automl-mnist@champion, or a data set.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, WebP, TIFF, BMP or GIF.")],
    home: HomeOption = None,
) -> None:
    """Classify images with a registered model."""
    from pipeline_lib.serving.prediction import classify

    here = use_home(home)
    asked = model if ":" in model else _known(here, model, "model")
    for answer in classify(here, asked, images):
        typer.echo(f"{answer.path}  {answer.label}  {answer.probability:.1%}")
        if answer.remarks:
            typer.echo(f"{answer.path} {', '.join(answer.remarks)}", err=True)


def promote(
    dataset: _DatasetArgument,
    version: Annotated[int | None, typer.Argument(help="[default: the challenger]")] = None,
    why: _WhyOption = "by hand",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Compare a registered version with the champion, ask, and make it champion."""
    from flows.promoting import promote_manually

    here = use_home(home)
    promote_manually(here, _known(here, dataset), version, why, yes=yes)


def rollback(
    dataset: _DatasetArgument, why: _WhyOption = "by hand", home: HomeOption = None
) -> None:
    """Make the champion before this one champion again, and show who was."""
    from flows.listings import print_promotion
    from pipeline_lib.registry.promotion import rollback as step_back

    here = use_home(home)
    name = _known(here, dataset)
    print_promotion(here, name, step_back(here, name, why))


def _known(home: Home, dataset: str, field: str = "dataset") -> str:
    """The name, where it is in the catalogue or a model of it was registered."""
    from pipeline_lib.data.sources.catalogue import CATALOGUE
    from pipeline_lib.options import choice

    if dataset in CATALOGUE:
        return dataset
    from pipeline_lib.registry.promotion import registered_names

    return choice(field, dataset, dict.fromkeys([*CATALOGUE, *registered_names(home)]))
