"""What a run found, in words: the same text for the terminal, Prefect and MLflow."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_lib.formats import short
from pipeline_lib.outcome import Findings
from pipeline_lib.selection import leaderboard
from pipeline_lib.test_result import TestResult
from pipeline_lib.trial import ENSEMBLE, Trial

_TOP = 5
_ALONE = "There was no other model to compare the winner with."


def sentence(dataset: str, winner: Trial, test: TestResult | None, untested: str) -> str:
    """The outcome in one sentence; `untested` is why there are no test figures, if so."""
    if test is None:
        return (
            f"{called(winner)} wins on {dataset} with {winner.text} validation "
            f"{winner.metric.title} and {winner.parameters:,} parameters; it was not measured on "
            f"the test set: {untested}."
        )
    return (
        f"{called(winner)} wins on {dataset} with {test.sentence}, {test.size:,} images, "
        f"test-set evaluation {test.reading}; {winner.text} validation {winner.metric.title}, "
        f"{winner.parameters:,} parameters."
    )


def called(winner: Trial) -> str:
    """The winner at the start of a sentence."""
    if winner.engine == ENSEMBLE:
        return f"The ensemble of {len(winner.configuration)} models"
    return f"{winner.engine} trial {winner.number}"


def verdict(findings: Findings) -> str:
    """The outcome as Markdown: verdict, leaderboard, comparisons, hyperparameters, test set."""
    trials, winner, test = findings.trials, findings.winner, findings.test
    ensemble = findings.ensemble
    parts = [
        f"**{sentence(findings.config.problem_name, winner, test, findings.untested)}**",
        promotion_sentence(findings),
        "### Leaderboard",
        _table(*leaderboard.texts(leaderboard.leaderboard(trials).head(_TOP))),
        "### Trials",
        "\n".join(f"- {line}" for line in count_lines(findings.config.engines, trials)),
        "### Comparisons on validation images",
        "\n".join(f"- {line}" for line in findings.compared.sentences()) or _ALONE,
        *(["### Ensemble", ensemble.sentence()] if ensemble else []),
        "### Hyperparameters of the winner",
        _table(("name", "value"), [(k, short(v)) for k, v in winner.configuration.items()]),
        "### Test set",
        *(_test_parts(test) if test else [f"Not opened: {findings.untested}."]),
    ]
    return "\n\n".join(parts) + "\n"


def promotion_sentence(findings: Findings) -> str:
    """Whether the winner is champion, in one sentence."""
    registered = findings.registration
    version, before = registered.version, findings.compared.champion
    if registered.model and before is None:
        return f"Version {version} is registered as champion (first model)."
    if registered.model:
        return f"Version {version} is registered as champion: {registered.why}."
    kept = f"version {before.version} stays champion" if before else "there is no champion"
    return (
        f"Version {version} is registered as challenger, not promoted ({kept}): {registered.why}."
    )


def count_lines(engines: Sequence[str], trials: list[Trial]) -> list[str]:
    """Trials conducted and how they ended, one line an engine."""
    lines = []
    for engine in engines:
        tally = leaderboard.counts(t for t in trials if t.engine == engine)
        lines.append(f"{engine}: {tally['trials']} conducted, {leaderboard.outcomes(tally)}")
    return lines


def _test_parts(test: TestResult) -> list[str]:
    perturbed = [(name, f"{accuracy:.2%}") for name, accuracy in test.robustness.items()]
    by_class = [
        (c.name, str(c.support), f"{c.precision:.2%}", f"{c.recall:.2%}", f"{c.f1:.2%}")
        for c in test.classes
    ]
    parts = [_table(("class", "images", "precision", "recall", "F1"), by_class)]
    if test.calibration:
        parts.append(test.calibration.sentence())
    if perturbed:
        parts.append(_table(("test images", "accuracy"), perturbed))
    return parts


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
