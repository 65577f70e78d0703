"""Optuna samplers, one module each: `make(seed)` returns the sampler of a study."""
