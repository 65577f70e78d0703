"""No pruning: every trial climbs every rung."""

from __future__ import annotations

from optuna.pruners import BasePruner, NopPruner

from pipeline_lib.search.fidelity import Ladder


def make(ladder: Ladder) -> BasePruner:
    """The pruner that keeps every trial."""
    return NopPruner()
