"""Independent uniform draws: the baseline of every other sampler."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler


def make(seed: int) -> BaseSampler:
    """The sampler."""
    return RandomSampler(seed=seed)
