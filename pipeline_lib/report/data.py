"""What a report says, as plain values; nothing here reads a file or a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_lib.config import RunConfig
from pipeline_lib.data.problem import Problem
from pipeline_lib.test_result import TestResult
from pipeline_lib.trial import Trial


@dataclass(frozen=True)
class Table:
    """A table of texts, ready to show."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """Sentences first, then tables."""

    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """Everything one report shows.

    Attributes:
        name: Of the run.
        problem: What was learned.
        verdict: The outcome in one sentence.
        standing: Whether the winner is champion and why, in one sentence.
        winner: One of `trials`.
        test: What the winner is worth on the test set; None where it was not measured.
        untested: Why it was not; empty where it was.
        readings: The test set's ledger, oldest first: `at`, `model`.
        model: Registered address such as `models:/automl-mnist/3`; None when there is none.
        architecture_svg: The winner's diagram as an SVG document; empty without one.
        architecture_text: The winner's network as PyTorch prints it.
        spaces: By engine, its hyperparameters: name, type, range, log, default, conditions.
        latency: Milliseconds for one image on one thread, by `Trial.label`, where measured.
        environment: Tags that say which code, packages and machine.
        statistics: Which model is shown to be better, on validation data.
        ensemble: What each member of the run's best ensemble adds; empty without one.
    """

    name: str
    problem: Problem
    config: RunConfig
    verdict: str
    standing: str
    trials: tuple[Trial, ...]
    winner: Trial
    test: TestResult | None
    untested: str = ""
    readings: tuple[Mapping[str, Any], ...] = ()
    model: str | None = None
    architecture_svg: str = ""
    architecture_text: str = ""
    spaces: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    statistics: Section = Section()
    ensemble: Section = Section()
