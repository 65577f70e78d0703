"""The model card: Markdown with a YAML head, in the layout of the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

from pipeline_lib.data.problem import Problem
from pipeline_lib.formats import percent, short
from pipeline_lib.metrics import ACCURACY, metric_of
from pipeline_lib.report.build import command
from pipeline_lib.report.data import ReportData, Table
from pipeline_lib.test_result import TestResult


def build_card(data: ReportData) -> str:
    """The card of the winner, to stand as README.md beside its weights."""
    parts = [
        f"---\n{_front_matter(data)}---",
        f"# {data.problem.name}: {data.winner.label}",
        data.verdict,
        "## Intended use",
        f"An image classifier for {data.problem.title}: {_shape(data.problem)} with "
        f"{len(data.problem.target)} classes. It was found by an automated search and trained on "
        "that data set alone: images cropped, centred or lit otherwise are outside what was "
        "measured.",
        "## Evaluation",
        _evaluation(data),
        "## Training",
        _training(data),
        "## Usage",
        _use(data),
    ]
    if data.statistics.sentences:
        parts[7:7] = ["\n".join(f"- {each}" for each in data.statistics.sentences)]
    if data.ensemble.tables:
        parts += ["## Ensemble", *data.ensemble.sentences, *map(_table, data.ensemble.tables)]
    if data.architecture_text:
        parts += ["## Network", f"```\n{data.architecture_text.strip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _front_matter(data: ReportData) -> str:
    import yaml

    split = "test" if data.test else "validation"
    problem = data.problem
    dataset: dict[str, Any] = {"type": problem.name, "name": problem.title, "split": split}
    metrics = [
        {"type": name, "value": round(value, 6), "name": f"{split.capitalize()} {_title(name)}"}
        for name, value in _scores(data).items()
    ]
    fields = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["automl", data.winner.engine, problem.name],
        "datasets": [problem.name],
        "metrics": [each["type"] for each in metrics],
        "model-index": [
            {
                "name": f"{data.name}/{data.winner.label}",
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Image classification"},
                        "dataset": dataset,
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    return text


def _scores(data: ReportData) -> dict[str, float]:
    """By name, what the winner reached on the test set; on validation where it was not opened."""
    test = data.test
    if test is None:
        return {**data.winner.scores}
    scored = {test.scored.metric.name: test.scored.value} if test.scored else {}
    return {ACCURACY.name: test.accuracy, **scored}


def _title(name: str) -> str:
    return metric_of(name).title


def _shape(problem: Problem) -> str:
    channels, height, width = problem.inputs.shape
    return f"{height} × {width} pixels, {'grey' if channels == 1 else f'{channels} channels'},"


def _evaluation(data: ReportData) -> str:
    test, winner = data.test, data.winner
    validation = f"Validation {winner.metric.title} {winner.text}"
    if test is None:
        return (
            f"{validation}, the selection metric. It was not measured on the "
            f"test set: {data.untested}."
        )
    low, high = test.interval
    reading = (
        "It was the first evaluation on this test set."
        if test.reading == 1
        else f"It was evaluation {test.reading} on this test set, which is no longer untouched."
    )
    rows = [
        f"| {c.name} | {c.support:,} | {percent(c.precision, 2)} | {percent(c.recall, 2)} "
        f"| {percent(c.f1, 2)} |"
        for c in test.classes
    ]
    return "\n".join(
        [
            f"Test accuracy {percent(test.accuracy, 2)}, 95% CI {percent(low, 2)} to "
            f"{percent(high, 2)} (Wilson, {test.size:,} images).{_scored(test)} {reading} "
            f"{validation}, the selection metric.",
            "",
            "| class | images | precision | recall | F1 |",
            "|---|---:|---:|---:|---:|",
            *rows,
        ]
    )


def _scored(test: TestResult) -> str:
    """The value of another metric than accuracy, as a sentence."""
    if test.scored is None:
        return ""
    metric, value = test.scored.metric, test.scored.metric.text(test.scored.value)
    return f" Test {metric.title} {value}, 95% CI {test.scored.interval_text} (bootstrap)."


def _training(data: ReportData) -> str:
    winner = data.winner
    samples = winner.rungs[-1].samples if winner.rungs else 0
    rows = [f"| {name} | {short(value)} |" for name, value in winner.configuration.items()]
    return "\n".join(
        [
            f"Trained on {samples:,} samples; {winner.parameters or 0:,} parameters, "
            f"{winner.multiply_adds or 0:,} multiply-adds an image. Chosen among "
            f"{len(data.trials)} trials on validation data alone.",
            "",
            "| hyperparameter | value |",
            "|---|---|",
            *rows,
            "",
            "To run the same search again:",
            "",
            f"```\n{command(data)}\n```",
        ]
    )


def _table(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _use(data: ReportData) -> str:
    from pipeline_lib.report.build import environment

    return environment().get_template("use.md.j2").render(data=data).strip()
