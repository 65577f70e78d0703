"""Charts of a whole run: values against time and against cost, where trials ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipeline_lib.report.figures import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    Chart,
    Figure,
    height,
    log_axis,
    value_axis,
)
from pipeline_lib.trial import Trial, TrialState, by_regret

if TYPE_CHECKING:
    from pipeline_lib.test_result import Bin, Calibration

FRONT_SHOWN = 12
"""How many of the Pareto front a table names, and whose latency is measured."""

_LOOKS = (  # of the engines, told apart without colour too
    (ACCENT, "circle", "solid"),
    (INK, "diamond-open", "dash"),
    (MUTED, "square", "dot"),
)
_CLIMBED = "climbed"
_FATES = (
    (_CLIMBED, "promoted to the next rung", ACCENT),
    (str(TrialState.COMPLETE), "complete here", "@accent-soft"),
    (str(TrialState.PRUNED), "pruned here", FAINT),
    (str(TrialState.STOPPED), "out of time here", MUTED),
    (str(TrialState.FAILED), "failed here", INK),
)


def engines_of(trials: Sequence[Trial]) -> list[str]:
    """Engines, the one with the first trial first."""
    return list(dict.fromkeys(trial.engine for trial in sorted(trials, key=lambda t: t.started)))


def value_over_time(trials: Sequence[Trial]) -> Chart:
    """Every trial where it ended, and each engine's best so far."""
    measured = sorted((trial for trial in trials if trial.rungs), key=_ended)
    began = min(trial.started for trial in measured)
    seconds = _ended(measured[-1]) - began
    unit, length = next(
        (u for u in (("seconds", 1.0), ("minutes", 60.0)) if seconds <= 240 * u[1]),
        ("hours", 3600.0),
    )
    traces: list[Figure] = []
    said: list[str] = []
    metric = measured[0].metric
    for index, engine in enumerate(engines_of(measured)):
        own = [trial for trial in measured if trial.engine == engine]
        times = [round((_ended(trial) - began) / length, 3) for trial in own]
        colour, symbol, dash = _LOOKS[index % len(_LOOKS)]
        marker = {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.4}
        line = {"shape": "hv", "width": 2.5, "color": colour, "dash": dash}
        incumbents = list(accumulate(own, _better))
        reached = [height(metric, each.rungs[-1].value) for each in incumbents]
        best = {"x": [*times, seconds / length], "y": [*reached, reached[-1]]}
        traces.append(_points(f"{engine}, trials", times, own, marker))
        drawn = {"type": "scatter", "mode": "lines", "name": f"{engine}, best so far"}
        traces.append({**drawn, **best, "line": line, "hoverinfo": "skip"})
        said.append(f"{engine} reached {incumbents[-1].text}")
    axis = value_axis(metric, [trial.rungs[-1].value for trial in measured])
    x_axis = {"title": {"text": f"{unit} since the first trial began"}, "rangemode": "tozero"}
    summary = f"Validation {metric.title} of {len(measured)} trials over {seconds:,.0f} seconds"
    return Chart(
        "time",
        f"{metric.heading} against time",
        f"{summary}: {'; '.join(said)}.",
        {"data": traces, "layout": {"xaxis": x_axis, "yaxis": axis}},
        note="Each point is a trial where it ended; a line is the engine’s best so far."
        + (" The axis is spread towards 100%." if metric.is_share else ""),
    )


def _points(
    name: str,
    x: Sequence[float],
    trials: Sequence[Trial],
    marker: Figure,
    latency: Mapping[str, float] = MappingProxyType({}),
) -> Figure:
    """A point for each trial, at its value."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": [height(trial.metric, trial.rungs[-1].value) for trial in trials],
        "text": [_hover(trial, latency.get(trial.label)) for trial in trials],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in value, parameters and multiply-adds at once, best first."""
    sized = [
        trial
        for trial in trials
        if trial.rungs and trial.parameters is not None and trial.multiply_adds is not None
    ]
    values = {id(trial): _costs(trial) for trial in sized}
    front: list[Trial] = []
    for trial in sorted(sized, key=lambda each: values[id(each)]):
        own = values[id(trial)]
        # In this order whoever dominates a trial comes before it; equals stand once.
        if not any(all(a <= b for a, b in zip(values[id(f)], own, strict=True)) for f in front):
            front.append(trial)
    return front


def value_against_cost(trials: Sequence[Trial], latency: Mapping[str, float]) -> list[Chart]:
    """Values over parameters and over multiply-adds; the Pareto front of all three stands out."""
    front = pareto_front(trials)
    others = [t for t in trials if t.rungs and t.parameters and t.multiply_adds and t not in front]
    if not front:
        return []
    metric = front[0].metric
    axis = value_axis(metric, [t.rungs[-1].value for t in [*others, *front]])
    charts = []
    for key, words in (("parameters", "parameters"), ("multiply_adds", "multiply-adds an image")):
        groups = (("other trials", others, FAINT, 6), ("Pareto front", front, ACCENT, 9))
        traces = [
            _points(
                name,
                [getattr(trial, key) for trial in group],
                group,
                {"color": colour, "size": size},
                latency,
            )
            for name, group, colour, size in groups
            if group
        ]
        x_axis = log_axis([getattr(trial, key) for trial in [*others, *front]], words)
        charts.append(
            Chart(
                f"pareto-{key}",
                f"{metric.heading} against {words}",
                f"{len(front)} of {len(front) + len(others)} trials are on the Pareto front; "
                "the table below lists the best.",
                {"data": traces, "layout": {"xaxis": x_axis, "yaxis": axis}},
                height=340,
                small=True,
            )
        )
    return charts


def rung_flow(trials: Sequence[Trial]) -> Chart:
    """How many search trials reached each rung, and what became of them there."""
    fates = _fates(trials)
    engines = engines_of(trials)
    order = sorted(fates, key=lambda key: (engines.index(key[0]), key[1] or math.inf))
    names = [f"{engine} · {f'{n:,} samples' if n else 'before any'}" for engine, n in order]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": words,
            "y": names,
            "x": [fates[key][fate] for key in order],
            "marker": {"color": colour},
            "hovertemplate": f"%{{y}}: %{{x}} {words}<extra></extra>",
        }
        for fate, words, colour in _FATES
        if any(fates[key][fate] for key in order)
    ]
    totals = [sum(fates[key].values()) for key in order]
    few = max(totals) < 8
    reached = ", ".join(f"{name}: {total}" for name, total in zip(names, totals, strict=True))
    return Chart(
        "rungs",
        "Successive halving",
        f"Trials at each rung. {reached}.",
        {
            "data": traces,
            "layout": {
                "barmode": "stack",
                "bargap": 0.35,
                "legend": {"traceorder": "normal"},
                "xaxis": {"title": {"text": "trials"}, "dtick": 1 if few else None},
                "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
            },
        },
        height=150 + 34 * len(order),
        note="A rung is one complete training at one fidelity; its best trials are trained at the "
        "next one.",
    )


def _fates(trials: Sequence[Trial]) -> dict[tuple[str, int], Counter[str]]:
    """By engine and rung, in samples, how many trials of the search ended or climbed on there."""
    fates: dict[tuple[str, int], Counter[str]] = {}
    for trial in trials:
        if trial.stage == "final":
            continue
        rungs = [rung.samples for rung in trial.rungs] or [0]
        for samples in rungs[:-1]:
            fates.setdefault((trial.engine, samples), Counter())[_CLIMBED] += 1
        fates.setdefault((trial.engine, rungs[-1]), Counter())[str(trial.state)] += 1
    return fates


def reliability(calibration: Calibration) -> Chart:
    """Accuracy by confidence, uncalibrated and temperature-scaled."""
    scaled = f"at temperature {calibration.temperature:.2f}"
    ideal: Figure = {
        "type": "scatter",
        "mode": "lines",
        "name": "ideal",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": FAINT, "width": 1},
        "hoverinfo": "skip",
    }
    traces = [
        ideal,
        _reliability_line("uncalibrated", calibration.bins, MUTED, "dot"),
        _reliability_line(scaled, calibration.bins_scaled, ACCENT, "solid"),
    ]
    axes = {
        f"{letter}axis": {"range": [0, 1.03], "tickformat": ".0%", "title": {"text": title}}
        for letter, title in (("x", "confidence"), ("y", "accuracy"))
    }
    figure = {"data": traces, "layout": axes}
    return Chart("reliability", "Reliability", calibration.sentence(), figure, 340, small=True)


def _reliability_line(name: str, bins: Sequence[Bin], colour: str, dash: str) -> Figure:
    filled = [each for each in bins if each.count]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [each.confidence for each in filled],
        "y": [each.accuracy for each in filled],
        "text": [f"{each.count:,} images" for each in filled],
        "hovertemplate": "%{text}: confidence %{x:.1%}, accuracy %{y:.1%}<extra></extra>",
        "line": {"color": colour, "dash": dash},
        "marker": {"color": colour, "size": 6},
    }


def _better(incumbent: Trial, trial: Trial) -> Trial:
    return min(incumbent, trial, key=by_regret)


def _ended(trial: Trial) -> float:
    return trial.started + trial.seconds


def _costs(trial: Trial) -> tuple[float, int, int]:
    return (by_regret(trial), trial.parameters or 0, trial.multiply_adds or 0)


def _hover(trial: Trial, milliseconds: float | None = None) -> str:
    lines = [f"<b>{trial.engine} #{trial.number}</b> {trial.stage}, {trial.state}"]
    lines.append(f"{trial.text} at {trial.rungs[-1].samples:,} samples")
    if trial.parameters is not None:
        lines.append(f"{trial.parameters:,} parameters")
    if trial.multiply_adds is not None:
        lines.append(f"{trial.multiply_adds:,} multiply-adds")
    if milliseconds is not None:
        lines.append(f"{milliseconds:.2f} ms an image")
    return "<br>".join(lines)
