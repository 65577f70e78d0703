"""What the engine asks of the worker; `worker.py` has the JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.data.source import Source

Emit = Callable[[Mapping[str, Any]], None]
"""Prints one event."""


@dataclass(frozen=True)
class Job:
    """One search."""

    directory: Path
    source: Source
    seed: int
    deadline: float  # of `time.monotonic()`: after it nothing starts
    grace_seconds: float  # after which what runs at the deadline is cut off
    evaluation_seconds: float
    memory_mb: int
    workers: int
    include: Mapping[str, list[str]]
    updates: list[Mapping[str, Any]]
    min_epochs: int
    max_epochs: int
    evaluations: int | None
    first_number: int
    first: list[Mapping[str, Any]]
    metric: str  # its name, or the address of a function in a file
