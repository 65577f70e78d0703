"""Learning curves of the best trials."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_lib.formats import percent
from pipeline_lib.report.figures import ACCENT, INK, MUTED, Chart, Figure, accuracy_axis, error
from pipeline_lib.trial import Trial

_LOOKS = (  # told apart without colour too
    (ACCENT, "solid"),
    (INK, "dash"),
    (INK, "dot"),
    (MUTED, "dashdot"),
    (MUTED, "longdash"),
)


def learning_curves(trials: Sequence[Trial]) -> Chart | None:
    """Validation accuracy over the samples seen, of the best trials whose training was followed."""
    known = [trial for trial in trials if len(_curve(trial)) > 1]
    followed = sorted(known, key=lambda trial: -(trial.val_accuracy or 0.0))[: len(_LOOKS)]
    if not followed:
        return None
    traces = [
        _line(trial, *look, width=1.5 if index else 2.5)
        for index, (trial, look) in enumerate(zip(followed, _LOOKS, strict=False))
    ]
    x_axis = {"title": {"text": "samples seen"}, "rangemode": "tozero", "tickformat": "~s"}
    axis = accuracy_axis(accuracy for trial in followed for _, accuracy in _curve(trial))
    best = followed[0]
    return Chart(
        "curves",
        "Learning curves",
        f"Validation accuracy while the best {len(followed)} trials trained; "
        f"{best.engine} #{best.number} ended at {percent(best.val_accuracy or 0.0, 2)}.",
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
        "y": [error(accuracy) for _, accuracy in points],
        "text": [f"{percent(a, 2)} after {n:,} samples" for n, a in points],
        "hovertemplate": "%{text}",
        "line": {"color": colour, "dash": dash, "width": width},
        "marker": {"color": colour, "size": 4},
    }


def _curve(trial: Trial) -> list[tuple[int, float]]:
    points = trial.rungs[-1].curve if trial.rungs else ()
    return [(point.samples, point.val_accuracy) for point in points]
