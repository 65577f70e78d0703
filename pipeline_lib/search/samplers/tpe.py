"""Tree-structured Parzen estimator over whole configurations."""

from __future__ import annotations

from optuna.samplers import BaseSampler, TPESampler


def make(seed: int) -> BaseSampler:
    """The sampler; a running trial counts as a bad one, so that workers do not propose the same."""
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)
