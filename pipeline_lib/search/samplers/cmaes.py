"""CMA-ES on the numbers of a space; what it cannot handle is drawn independently."""

from __future__ import annotations

from optuna.samplers import BaseSampler, CmaEsSampler


def make(seed: int) -> BaseSampler:
    """The sampler, without its warnings about categories and conditional parameters."""
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)
