"""The median rule: a trial ends where it is worse than half of the complete ones were there."""

from __future__ import annotations

from optuna.pruners import BasePruner, MedianPruner

from pipeline_lib.search.fidelity import Ladder


def make(ladder: Ladder) -> BasePruner:
    """The pruner; Optuna's default lets the first five trials climb every rung."""
    return MedianPruner()
