"""The report as one HTML text."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pipeline_lib.formats import percent, short
from pipeline_lib.metrics import ACCURACY
from pipeline_lib.report import hyperparameter_charts
from pipeline_lib.report.charts import (
    FRONT_SHOWN,
    engines_of,
    pareto_front,
    reliability,
    rung_flow,
    value_against_cost,
    value_over_time,
)
from pipeline_lib.report.curves import learning_curves
from pipeline_lib.report.figures import Chart
from pipeline_lib.report.hyperparameters import shortened
from pipeline_lib.selection.leaderboard import leaderboard
from pipeline_lib.trial import ENDED, ENSEMBLE, Trial

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment

    from pipeline_lib.report.data import ReportData

_PAGE = "report.html.j2"
_MOST_REASONS = 12
_SVG_PROLOGUE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_SVG_SIZE = re.compile(r'(<svg\b[^>]*?)\swidth="([\d.]+)\w*"\s+height="[\d.]+\w*"')


def build_report(data: ReportData) -> str:
    """The report of a run: HTML that asks for nothing from disk or network.

    plotly.js is inlined once, compressed; the browser unpacks it, which keeps the file near 2 MB.
    """
    engines = engines_of(data.trials)
    charts, front = _charts(data, engines), pareto_front(data.trials)
    figures = {chart.key: chart.figure for group in charts.values() for chart in group}
    svg, width = _inline_svg(data.architecture_svg)
    return (
        environment()
        .get_template(_PAGE)
        .render(
            data=data,
            charts=charts,
            studied=[engine for engine in engines if charts[engine]],
            figures=figures,
            board=board(data.trials),
            shared=[(engine, _shared(data.trials, engine)) for engine in engines],
            front=front[:FRONT_SHOWN],
            front_size=len(front),
            engines=engines,
            costs=[cost(data, engine) for engine in engines if engine != ENSEMBLE],
            reasons=reasons(data.trials),
            command=command(data),
            mistakes=_mistakes(data),
            svg=svg,
            svg_width=width,
            plotly=_packed_plotly(),
        )
    )


def board(trials: tuple[Trial, ...]) -> list[dict[str, Any]]:
    """The leaderboard's rows for people, each `configuration` what is not the same in all."""
    frame: pd.DataFrame = leaderboard(trials)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    by_key = {(trial.engine, trial.number): trial for trial in trials}
    shared = {engine: dict(_shared(trials, engine)) for engine in engines_of(trials)}
    for row in rows:
        trial = by_key[row["engine"], row["trial"]]
        named, row["text"] = _named(trial), trial.text
        row["configuration"] = [each for each in named if each[0] not in shared[row["engine"]]]
    return [{str(name): value for name, value in row.items()} for row in rows]


def _named(trial: Trial) -> list[tuple[str, str]]:
    """A trial's hyperparameters by their short names."""
    names = trial.configuration
    return [(shortened(name, names), short(value)) for name, value in names.items()]


def _shared(trials: Sequence[Trial], engine: str) -> list[tuple[str, str]]:
    """What all trials of an engine have in common, where there are some to compare."""
    first, *others = [_named(trial) for trial in trials if trial.engine == engine]
    same = set(first).intersection(*others) if len(others) > 1 else set()
    return [each for each in first if each in same]


def cost(data: ReportData, engine: str) -> dict[str, Any]:
    """What one engine spent: its trials by state, their seconds and the samples they saw."""
    own = [trial for trial in data.trials if trial.engine == engine]
    states = Counter(trial.state for trial in own)
    return {
        "engine": engine,
        "trials": len(own),
        **{str(state): states[state] for state in ENDED},
        "seconds": sum(trial.seconds for trial in own),
        "samples": sum(rung.samples for trial in own for rung in trial.rungs),
    }


def reasons(trials: tuple[Trial, ...]) -> list[tuple[str, str, str, int]]:
    """Engine, state, reason and how many trials ended so; the most frequent first."""
    found = Counter(
        (trial.engine, str(trial.state), trial.reason) for trial in trials if trial.reason
    )
    return [(*key, count) for key, count in found.most_common(_MOST_REASONS)]


def command(data: ReportData) -> str:
    """The command line that runs the same search again."""
    config = data.config
    words = ["automl", "run", config.dataset, "--engine", config.engine]
    words += ["--budget", f"{config.budget_seconds:g}s", "--space", config.space]
    words += [word for name in config.families for word in ("--family", name.split("#")[0])]
    words += ["--sampler", config.sampler, "--pruner", config.pruner]
    words += [word for setting in config.set for word in ("--set", setting)]
    words += ["--workers", str(config.workers), "--ensemble", str(config.ensemble)]
    if config.metric != ACCURACY.name:
        words += ["--metric", config.metric]
    for name, value in config.data_changed().items():
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    if config.trials is not None:
        words += ["--trials", str(config.trials)]
    if config.warm_start:
        words += ["--warm-start", ",".join(config.warm_start)]
    return shlex.join([*words, "--seed", str(config.seed)])


@lru_cache(1)
def environment() -> Environment:
    """jinja2 with our templates and our ways to write numbers; everything is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("pipeline_lib.report", "templates")
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": percent,
        "short": short,
        "duration": duration,
        "thousands": _thousands,
        "script_json": _script_json,
    }
    return made


def duration(seconds: float) -> str:
    """Such as 48 s, 12 min 5 s, 3 h 20 min."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def _thousands(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _charts(data: ReportData, engines: list[str]) -> dict[str, list[Chart]]:
    """Charts by the part of the page they stand in."""
    calibration = data.test.calibration if data.test else None
    curves = learning_curves(data.trials)
    return {
        "time": [value_over_time(data.trials)],
        "curves": [curves] if curves else [],
        "pareto": value_against_cost(data.trials, data.latency),
        "rungs": [rung_flow(data.trials)],
        "calibration": [reliability(calibration)] if calibration else [],
        **{engine: hyperparameter_charts.charts(engine, data.trials) for engine in engines},
    }


def _inline_svg(document: str) -> tuple[str, float]:
    """An SVG document as an element that scales with its width; and the width it had, in points."""
    from markupsafe import Markup

    if not document:
        return "", 0.0
    element = _SVG_PROLOGUE.sub("", document, count=1)
    size = _SVG_SIZE.search(element)
    if size:
        element = _SVG_SIZE.sub(r"\1", element, count=1)
    return Markup(element), float(size[2]) if size else 400.0


def _mistakes(data: ReportData) -> dict[str, int]:
    """How many test images the winner got wrong, and how many of one true and predicted class."""
    confusion = data.test.confusion if data.test else ()
    wrong = [n for true, row in enumerate(confusion) for at, n in enumerate(row) if at != true]
    return {"all": sum(wrong), "most": max([1, *wrong])}


@lru_cache(1)
def _packed_plotly() -> str:
    script = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()


def _script_json(value: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element, where entities are not read."""
    from markupsafe import Markup

    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
