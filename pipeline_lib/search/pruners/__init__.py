"""Optuna pruners, one module each: `make(ladder)` returns the pruner of a study with these rungs.

A trial reports once a rung, so a pruner is asked once a rung.
"""
