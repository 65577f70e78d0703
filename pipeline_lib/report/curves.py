"""Learning curves of the best trials."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_lib.report.figures import ACCENT, INK, MUTED, Chart, Figure, height, value_axis
from pipeline_lib.trial import Trial, by_regret

_LOOKS = (  # told apart without colour too
    (ACCENT, "solid"),
    (INK, "dash"),
    (INK, "dot"),
    (MUTED, "dashdot"),
    (MUTED, "longdash"),
)


def learning_curves(trials: Sequence[Trial]) -> Chart | None:
    """Values on validation over the samples seen, of the best trials that have a curve."""
    known = [trial for trial in trials if len(_curve(trial)) > 1]
    followed = sorted(known, key=by_regret)[: len(_LOOKS)]
    if not followed:
        return None
    traces = [
        _line(trial, *look, width=1.5 if index else 2.5)
        for index, (trial, look) in enumerate(zip(followed, _LOOKS, strict=False))
    ]
    x_axis = {"title": {"text": "samples seen"}, "rangemode": "tozero", "tickformat": "~s"}
    best, metric = followed[0], followed[0].metric
    axis = value_axis(metric, (value for trial in followed for _, value in _curve(trial)))
    return Chart(
        "curves",
        "Learning curves",
        f"Validation {metric.title} while the best {len(followed)} trials trained; "
        f"{best.engine} #{best.number} ended at {best.text}.",
        {"data": traces, "layout": {"xaxis": x_axis, "yaxis": axis}},
        note=f"The best {len(followed)} trials that have a curve, each in its last rung.",
    )


def _line(trial: Trial, colour: str, dash: str, width: float) -> Figure:
    points = _curve(trial)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{trial.engine} #{trial.number}",
        "x": [samples for samples, _ in points],
        "y": [height(trial.metric, value) for _, value in points],
        "text": [f"{trial.metric.text(value)} after {n:,} samples" for n, value in points],
        "hovertemplate": "%{text}",
        "line": {"color": colour, "dash": dash, "width": width},
        "marker": {"color": colour, "size": 4},
    }


def _curve(trial: Trial) -> list[tuple[int, float]]:
    points = trial.rungs[-1].curve if trial.rungs else ()
    return [(point.samples, point.value) for point in points]
