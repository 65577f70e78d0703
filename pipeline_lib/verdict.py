"""What a run found, in words: the same text for the terminal, Prefect and MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_lib import compare
from pipeline_lib.trial import Trial

if TYPE_CHECKING:
    from pipeline_lib.evaluation import TestResult
    from pipeline_lib.run import Run

_TOP = 5


def sentence(run: Run, winner: Trial, test: TestResult) -> str:
    """The outcome in one sentence."""
    low, high = test.interval
    return (
        f"{winner.engine} trial {winner.number} wins on {run.config.dataset} with "
        f"{test.accuracy:.2%} test accuracy (95 % interval {low:.2%} to {high:.2%}, "
        f"{test.size:,} images, reading {test.reading} of this test set); "
        f"{winner.val_accuracy:.2%} on validation, {winner.parameters:,} parameters."
    )


def verdict(run: Run, trials: list[Trial], winner: Trial, test: TestResult) -> str:
    """The outcome as Markdown: verdict, leaderboard, counts, hyperparameters, classes."""
    parts = [
        f"**{sentence(run, winner, test)}**",
        "### Leaderboard",
        _table(
            ("rank", "trial", "stage", "state", "validation", "parameters", "seconds"),
            [_row(rank, trial) for rank, trial in enumerate(_ranked(trials)[:_TOP], start=1)],
        ),
        "### Trials",
        "\n".join(f"- {line}" for line in count_lines(run, trials)),
        "### Hyperparameters of the winner",
        _table(("name", "value"), [(k, _shown(v)) for k, v in winner.configuration.items()]),
        "### Test set by class",
        _table(
            ("class", "images", "precision", "recall", "F1"),
            [
                (c.name, str(c.support), f"{c.precision:.2%}", f"{c.recall:.2%}", f"{c.f1:.2%}")
                for c in test.classes
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def count_lines(run: Run, trials: list[Trial]) -> list[str]:
    """Trials conducted, complete, pruned and failed, one line an engine."""
    lines = []
    for engine in run.config.engines:
        tally = compare.counts(t for t in trials if t.engine == engine)
        lines.append(
            f"{engine}: {tally['trials']} conducted, {tally['complete']} complete, "
            f"{tally['pruned']} pruned, {tally['failed']} failed"
        )
    return lines


def _ranked(trials: list[Trial]) -> list[Trial]:
    by_key = {(trial.engine, trial.number): trial for trial in trials}
    frame = compare.leaderboard(trials)
    return [by_key[key] for key in zip(frame["engine"], frame["trial"], strict=True)]


def _row(rank: int, trial: Trial) -> tuple[str, ...]:
    return (
        str(rank),
        f"{trial.engine} #{trial.number}",
        trial.stage,
        str(trial.state),
        f"{trial.val_accuracy:.2%}" if trial.val_accuracy is not None else "–",
        f"{trial.parameters:,}" if trial.parameters is not None else "–",
        f"{trial.seconds:.1f}",
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
