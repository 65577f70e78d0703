"""Charts of hyperparameters: importance, parallel coordinates and slices, engine by engine.

The drawings are our own, since Optuna 5 draws parallel coordinates as one trace a trial, which
takes seconds to build and to open; the importance is Optuna's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline_lib.formats import percent, rounded, short
from pipeline_lib.report.figures import (
    ACCENT,
    FAINT,
    MUTED,
    Chart,
    Figure,
    height,
    log_axis,
    value_axis,
)
from pipeline_lib.report.hyperparameters import (
    ABSENT,
    Hyperparameter,
    comparable,
    hyperparameters,
    importances,
)
from pipeline_lib.trial import Rung, Trial, number

_FEWEST = 8  # trials below which importance is noise
_LEAST = 3  # and below which there is nothing to see
_MOST_AXES, _AXES_OF_FEW = 12, 6
_ROOM = 40  # characters that the labels of a small chart have together
_LONGEST_TICK = 8  # characters between two parallel axes
_AXIS_WIDTH = 64  # CSS pixels between parallel axes, at least
_GOLDEN = (math.sqrt(5) - 1) / 2  # whose multiples fill the unit interval evenly
_GROUPS = ((0.5, FAINT, "lower half"), (0.9, MUTED, "upper half"), (1.0, ACCENT, "best tenth"))


def charts(engine: str, trials: Sequence[Trial]) -> list[Chart]:
    """Importance, parallel coordinates and slices of one engine; of a few trials the last two."""
    samples, found = comparable([trial for trial in trials if trial.engine == engine])
    varied = hyperparameters([trial for trial, _ in found])
    if len(found) < _LEAST or not varied:
        return []
    regrets = [rung.regret for _, rung in found]
    importance = importances(varied, regrets) if len(found) >= _FEWEST else {}
    most = _MOST_AXES if importance else _AXES_OF_FEW
    ordered = sorted(varied, key=lambda h: -importance.get(h.name, 0.0))[:most]
    where = f"{len(found)} trials of {engine}, each after {samples:,} samples"
    return [
        *([_importance_chart(engine, importance, where)] if importance else []),
        _parallel_chart(engine, ordered, regrets, where),
        *(_slice_chart(engine, each, found) for each in ordered),
    ]


def _importance_chart(engine: str, importance: dict[str, float], where: str) -> Chart:
    ranked = sorted(importance.items(), key=lambda item: item[1])[-_MOST_AXES:]
    bars: Figure = {
        "type": "bar",
        "orientation": "h",
        "y": [name for name, _ in ranked],
        "x": [share for _, share in ranked],
        "text": [percent(share, 0) for _, share in ranked],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": ACCENT},
        "hoverinfo": "skip",
    }
    top = " and ".join(f"{name} ({percent(share, 0)})" for name, share in reversed(ranked[-2:]))
    return Chart(
        f"importance-{engine}",
        f"Importance, {engine}",
        f"Importance, {where}: {top or 'nothing stands out'}.",
        {
            "data": [bars],
            "layout": {
                "bargap": 0.4,
                "xaxis": {
                    "title": {"text": "share of importance"},
                    "tickformat": ".0%",
                    "rangemode": "tozero",
                    "nticks": 5,
                },
                "yaxis": {"automargin": True, "showgrid": False},
                "showlegend": False,
                "margin": {"r": 48, "b": 48, "t": 12},
            },
        },
        height=84 + 28 * max(len(ranked), 2),
        note=f"PED-ANOVA, {where}: what tells the best tenth from the rest.",
    )


def _parallel_chart(
    engine: str, axes: Sequence[Hyperparameter], regrets: Sequence[float], where: str
) -> Chart:
    """Lines in three groups, the best on top, so that a few traces carry any number of trials."""
    columns = [_positions(axis) for axis in axes]
    lines = [
        [column[index] for column in columns]
        for index in sorted(range(len(regrets)), key=lambda index: -regrets[index])
    ]
    upto = [round(share * len(lines)) for share, _, _ in _GROUPS]
    ends = [0, upto[0], min(upto[1], len(lines) - 1), len(lines)]  # one at least is the best
    traces = [
        _line_group(lines[begin:end], colour, name if len(lines) >= _FEWEST else name.split()[0])
        for begin, end, (_, colour, name) in zip(ends, ends[1:], _GROUPS, strict=False)
        if end > begin
    ]
    return Chart(
        f"parallel-{engine}",
        f"Parallel coordinates, {engine}",
        f"A line a trial, {where}, across {len(axes)} hyperparameters; the best are drawn on top.",
        {"data": traces, "layout": _parallel_layout(axes)},
        height=470,
        least_width=_AXIS_WIDTH * len(axes),
        note=f"{where[0].upper()}{where[1:]}, the most important hyperparameter on the left."
        if len(lines) >= _FEWEST
        else f"{where[0].upper()}{where[1:]}: too few to say which hyperparameter matters.",
    )


def _line_group(lines: Sequence[Sequence[float | None]], colour: str, name: str) -> Figure:
    """Many lines as one trace: a gap ends each."""
    best = colour == ACCENT
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [place for line in lines for place in (*range(len(line)), None)],
        "y": [height for line in lines for height in (*line, None)],
        "line": {"color": colour, "width": 1.6 if best else 0.8},
        "opacity": 0.85 if best else 0.35,
        "hoverinfo": "skip",
    }


def _parallel_layout(axes: Sequence[Hyperparameter]) -> Figure:
    places = list(range(len(axes)))
    rule = {"color": MUTED, "width": 1}
    label = {"showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "@veil"}
    return {
        "xaxis": {
            "tickvals": places,
            "ticktext": [axis.name for axis in axes],
            "range": [-0.15, len(axes) - 0.4],
            "side": "top",
            "showgrid": False,
            "tickangle": -30,
        },
        "yaxis": {"visible": False, "range": [-0.06, 1.06], "fixedrange": True},
        "annotations": [
            {"x": place, "y": height, "text": text, "font": {"size": 11}, **label}
            for place, axis in enumerate(axes)
            for height, text in _ticks(axis)
        ],
        "shapes": [
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": rule} for x in places
        ],
        "margin": {"l": 12, "r": 12, "t": 90, "b": 40},
        "legend": {"y": -0.02, "yanchor": "top"},
    }


def _slice_chart(engine: str, axis: Hyperparameter, found: Sequence[tuple[Trial, Rung]]) -> Chart:
    having = [
        (value, trial, rung)
        for value, (trial, rung) in zip(axis.values, found, strict=True)
        if value != ABSENT
    ]
    metric = found[0][0].metric
    place = _spread if axis.kind == "category" else _on_scale
    x, x_axis = place(axis, [value for value, _, _ in having])
    points: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": [height(metric, rung.value) for _, _, rung in having],
        "text": [f"#{t.number}<br>{short(v)}: {metric.text(r.value)}" for v, t, r in having],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": _marker(len(having)),
    }
    best = min(having, key=lambda each: each[2].regret)[0]
    return Chart(
        f"slice-{engine}-{axis.name}",
        axis.name,
        f"Validation {metric.title} over {axis.name}, {engine}: the best trial has {short(best)}.",
        {
            "data": [points],
            "layout": {
                "xaxis": {**x_axis, "title": {"text": axis.name, "font": {"size": 12}}},
                "yaxis": value_axis(metric, (rung.value for _, rung in found)),
                "showlegend": False,
                "margin": {"l": 64, "r": 8, "t": 8, "b": 48},
            },
        },
        height=240,
        small=True,
    )


def _marker(count: int) -> Figure:
    """Few points stand out; of many, the bundles do."""
    few = count < 5 * _FEWEST
    return {"color": ACCENT, "size": 8 if few else 5, "opacity": 0.8 if few else 0.45}


def _spread(axis: Hyperparameter, values: Sequence[object]) -> tuple[list[float], Figure]:
    """Choices side by side, each as a strip of points."""
    places = {choice: index for index, choice in enumerate(axis.choices)}
    shifts = _shifts(len(values))
    return [places[v] + 0.18 * shift for v, shift in zip(values, shifts, strict=True)], {
        "tickvals": list(places.values()),
        "ticktext": [_cut(short(choice), max(4, _ROOM // len(places))) for choice in places],
        "range": [-0.5, len(places) - 0.5],
        "tickangle": 0,
        "showgrid": False,
    }


def _on_scale(axis: Hyperparameter, values: Sequence[object]) -> tuple[list[float], Figure]:
    numbers = [number(value) for value in values]
    if axis.kind == "log":
        return numbers, log_axis(numbers, labels=3)
    return numbers, {"nticks": 4, "tickangle": 0}


def _shifts(count: int) -> list[float]:
    """Steady offsets in [-1, 1], evenly spread, that keep equal values from hiding each other."""
    return [2 * (index * _GOLDEN % 1) - 1 for index in range(count)]


def _position(axis: Hyperparameter, value: object) -> float | None:
    """Height of a value on its axis, in [0, 1]; None, a gap, where the trial lacks it."""
    if value == ABSENT:
        return None
    choices = axis.choices
    if axis.kind == "category":
        return choices.index(value) / (len(choices) - 1)
    scale = math.log if axis.kind == "log" else float
    low, high = scale(number(choices[0])), scale(number(choices[-1]))
    return (scale(number(value)) - low) / (high - low)


def _positions(axis: Hyperparameter) -> list[float | None]:
    """Heights of all values; those of choices are spread a little, so that bundles show."""
    heights = [_position(axis, value) for value in axis.values]
    if axis.kind != "category":
        return heights
    shifts = _shifts(len(heights))
    return [
        None if height is None else round(height + 0.025 * shift, 4)
        for height, shift in zip(heights, shifts, strict=True)
    ]


def _cut(text: str, longest: int = _LONGEST_TICK) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _ticks(axis: Hyperparameter) -> list[tuple[float, str]]:
    choices = axis.choices
    if axis.kind == "category":
        return [(_position(axis, value) or 0.0, _cut(short(value))) for value in choices]
    low, high = number(choices[0]), number(choices[-1])
    middle = math.sqrt(low * high) if axis.kind == "log" else (low + high) / 2
    return [(0.0, rounded(low)), (0.5, rounded(middle)), (1.0, rounded(high))]
