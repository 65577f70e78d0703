"""Asynchronous successive halving: of the trials at a rung the best share climbs to the next."""

from __future__ import annotations

from optuna.pruners import BasePruner, SuccessiveHalvingPruner

from pipeline_lib.search.fidelity import Ladder


def make(ladder: Ladder) -> BasePruner:
    """The pruner, with the rungs of the ladder as its own."""
    return SuccessiveHalvingPruner(min_resource=ladder.rungs[0], reduction_factor=ladder.reduction)
