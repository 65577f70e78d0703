"""`automl promote`: a person sees how a version stands before it becomes champion."""

from __future__ import annotations

import sys

import typer

from flows.listings import print_promotion
from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.run.promote import PromotionProposal, compare_version, measure_and_promote


def promote_manually(home: Home, dataset: str, version: int | None, why: str, *, yes: bool) -> None:
    """Compare a version with the champion, ask, measure it, make it champion, and show all of it.

    Raises:
        ModelError: There is no such version, or nobody can be asked about one that may be worse.
    """
    proposal = compare_version(home, dataset, version, lambda line: typer.echo(line, err=True))
    typer.echo(proposal.sentence())
    if not yes and proposal.champion is not None:
        _ask(proposal)
    event, worth = measure_and_promote(home, proposal, why)
    typer.echo(worth)
    print_promotion(home, dataset, event)


def _ask(proposal: PromotionProposal) -> None:
    number = proposal.version.version
    if sys.stdin.isatty():
        typer.confirm(f"Make version {number} champion?", abort=True)
    elif proposal.is_worse or proposal.comparison is None:
        found = "is shown to be worse than" if proposal.is_worse else "was not compared with"
        remedy = "--yes makes it champion all the same"
        raise ModelError("version", f"{found} the champion", value=number, remedy=remedy)
