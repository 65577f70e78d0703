"""The registered models: who is champion, who becomes it, and what it says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import HomeOption, use_home

_DatasetArgument = Annotated[str, typer.Argument(help="A data set of the catalogue.")]
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

    print_champions(use_home(home), name)


def predict(
    model: Annotated[str, typer.Argument(help="models:/automl-mnist@champion, or a data set.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, WebP, TIFF, BMP or GIF.")],
    home: HomeOption = None,
) -> None:
    """Classify images with a registered model."""
    from pipeline_lib.serving.prediction import classify

    for answer in classify(use_home(home), model, images):
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
    from flows.promoting import promote_by_hand

    promote_by_hand(use_home(home), _known(dataset), version, why, yes=yes)


def rollback(
    dataset: _DatasetArgument, why: _WhyOption = "by hand", home: HomeOption = None
) -> None:
    """Make the champion before this one champion again, and show who was."""
    from flows.listings import print_promotion
    from pipeline_lib.registry.promotion import rollback as step_back

    here, name = use_home(home), _known(dataset)
    print_promotion(here, name, step_back(here, name, why))


def _known(dataset: str) -> str:
    from pipeline_lib.data.sources.catalogue import find

    return find(dataset).name
