"""Making a report: what takes seconds and no result depends on, then the two files."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline_lib.errors import DataError, EngineUnavailable, FamilyError, UserError
from pipeline_lib.files import write_whole
from pipeline_lib.home import Home
from pipeline_lib.report.charts import FRONT_SHOWN, pareto_front
from pipeline_lib.report.data import ReportData
from pipeline_lib.report.files import DETAILS, load, write
from pipeline_lib.report.latency import milliseconds_per_image
from pipeline_lib.search.engine import find_engine
from pipeline_lib.trial import ENSEMBLE, Trial

_log = logging.getLogger("automl")


def make_report(home: Home, name: str) -> list[Path]:
    """Write the report and the model card of a run; returns them, then what was made for them.

    The first time the winner is drawn, and the networks of the Pareto front are timed.

    Raises:
        UserError: There is no such run, it has not finished, or a file of it is damaged.
    """
    directory, data = home.run(name), load(home, name)
    made: list[Path] = []
    if not (directory / DETAILS).exists():
        made = [*_draw(data, directory), _measure(home, data, directory)]
        data = load(home, name)
    return [*write(directory, data), *made]


def _draw(data: ReportData, directory: Path) -> list[Path]:
    """The winner's network as PDF, SVG and PNG, and its printed form."""
    from pipeline_lib.models.saved import load_model
    from pipeline_lib.report.diagram import draw

    if not _has_weights(data.winner):
        return []
    assert data.winner.model is not None
    network = load_model(data.winner.model)
    printed = write_whole(directory / "architecture.txt", f"{network}\n")
    try:
        shape = data.problem.inputs.shape
        drawing = draw(network, shape, directory, members=_members(data.winner))
    except UserError as error:
        _log.warning("%s: the report goes without a diagram", error)
        return [printed]
    return [printed, drawing.pdf, drawing.svg, drawing.png]


def _members(winner: Trial) -> list[str]:
    """What the diagram calls the members of an ensemble; none for another network."""
    shares = winner.configuration if winner.engine == ENSEMBLE else {}
    return [f"{name}, weight {share:.2f}" for name, share in shares.items()]


def _measure(home: Home, data: ReportData, directory: Path) -> Path:
    details = {"spaces": _spaces(home, data), "latency": _latencies(data)}
    return write_whole(directory / DETAILS, json.dumps(details, indent=1) + "\n")


def _spaces(home: Home, data: ReportData) -> dict[str, list[dict[str, Any]]]:
    """The search spaces of the engines that searched, described as `automl space` does."""
    config, engines = data.config, {trial.engine for trial in data.trials}
    described: dict[str, list[dict[str, Any]]] = {}
    for name in config.engines:
        if name in engines:
            engine = find_engine(name).of(config, home)
            with suppress(EngineUnavailable, FamilyError, DataError):  # gone since it searched
                described[name] = engine.describe(config.space, config.budget_seconds)
    return described


def _latencies(data: ReportData) -> dict[str, float]:
    """Milliseconds an image, by label, of the networks that the Pareto front names."""
    shape = data.problem.inputs.shape
    return {
        trial.label: round(milliseconds_per_image(trial.model, shape), 4)
        for trial in pareto_front([*data.trials])[:FRONT_SHOWN]
        if trial.model and _has_weights(trial)
    }


def _has_weights(trial: Trial) -> bool:
    """Whether its network is there: `automl gc` leaves no losers'."""
    from pipeline_lib.models.saved import WEIGHTS

    return trial.model is not None and (trial.model / WEIGHTS).is_file()
