"""What "best" means: the built-in metrics, and a function of the user's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline_lib.errors import ConfigurationError, TrialFailure
from pipeline_lib.metric_formulas import BUILT_IN, Weighted
from pipeline_lib.options import choice
from pipeline_lib.own_code import Own

if TYPE_CHECKING:
    from pipeline_lib.metric_formulas import Answers, Labels, Targets, Weights

_FIELD = "metric"
_DEFAULTS: dict[str, Any] = {"direction": "maximize", "needs": "labels", "perfect": None}
_ALLOWED = {"direction": ("maximize", "minimize"), "needs": ("labels", "probabilities")}


@dataclass(frozen=True)
class Metric:
    """How models are scored. To have one runs no code of the user's."""

    name: str  # in the configuration, in records, and as the key of `Rung.scores`
    title: str  # in sentences
    direction: Literal["maximize", "minimize"] = "maximize"
    needs: Literal["labels", "probabilities"] = "labels"
    perfect: float = 1.0  # the value that cannot be better
    is_share: bool = False  # of all or some of the examples: people read it in percent
    address: str = ""  # of the user's function; empty for a built-in one
    digest: str = ""  # SHA-256 of its file

    @property
    def heading(self) -> str:
        """The title at the start of a line."""
        return self.title if self.address else self.title[:1].upper() + self.title[1:]

    @property
    def key(self) -> str:
        """The name with the characters that MLflow allows in names of metrics and tags."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)

    @property
    def identity(self) -> str:
        """What every run of a study has in common: the name, and what a user's file says."""
        return f"{self.name}, SHA-256 {self.digest[:12]}" if self.digest else self.name

    def score(self, answers: Answers, targets: Targets) -> float:
        """The value of answers (N, classes) for the targets (N,).

        Raises:
            ConfigurationError: The user's function raises, or what it returns is no number.
        """
        import numpy as np

        return self.weighted(answers, targets)(np.ones(len(targets), np.int64))

    def weighted(self, answers: Answers, targets: Targets) -> Weighted:
        """The value of these answers as a function of the examples' weights."""
        given = answers.argmax(1) if self.needs == "labels" else answers.astype("float64")
        if self.address:
            return _own(self, given, targets)
        return BUILT_IN[self.name](given, targets, answers.shape[1])

    def scores(self, logits: Answers, targets: Targets) -> dict[str, float]:
        """By name, what logits (N, classes) reach: this metric, and accuracy always.

        Raises:
            TrialFailure: The logits are not finite.
        """
        import numpy as np

        accuracy = float((logits.argmax(1) == targets).mean())
        if self == ACCURACY:
            return {self.name: accuracy}
        if not np.isfinite(logits).all():
            raise TrialFailure("training", "diverged: its answers are no finite numbers")
        return {
            ACCURACY.name: accuracy,
            self.name: self.score(probabilities(logits), targets),
        }

    def regret(self, value: float) -> float:
        """How far a value is from perfect, ≥ 0: what rules compare and divide."""
        return max(self.gain(value, self.perfect), 0.0)

    def gain(self, before: float, after: float) -> float:
        """By how much `after` is better than `before`; negative where it is worse."""
        return after - before if self.direction == "maximize" else before - after

    def text(self, value: float) -> str:
        """A value for people: `97.12%` of a share, `0.0831` of another."""
        if self.is_share:
            return f"{value:.2%}"
        return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.4g}"

    def phrase(self, value: float) -> str:
        """The value with the metric's title: `0.0831 log loss`; of an accuracy, the value alone."""
        return self.text(value) if self == ACCURACY else f"{self.text(value)} {self.title}"

    def check(self, classes: int) -> None:
        """Call the user's function once, so that its mistakes end a run before its search.

        Raises:
            ConfigurationError: It raises, or what it returns is no number; says in which line.
        """
        import numpy as np

        if self.address:
            targets = np.tile(np.arange(classes), 4)  # (N,)
            answers = np.random.default_rng(0).dirichlet(np.ones(classes), len(targets))
            self.score(answers, targets)


ACCURACY = Metric("accuracy", "accuracy", is_share=True)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Metric("balanced_accuracy", "balanced accuracy", is_share=True),
        Metric("macro_f1", "macro F1", is_share=True),
        Metric("log_loss", "log loss", "minimize", "probabilities", 0.0),
        Metric("roc_auc", "ROC AUC", needs="probabilities"),
        Metric("kappa", "Cohen's kappa"),
    )
}


def find(name: str) -> Metric:
    """The metric of a name: a built-in one, or a function as `file.py:function`.

    The function takes (labels or probabilities, targets) and returns a number. Its attributes
    `direction`, `needs` and `perfect` may be set in its file, each to a constant:
    `score.direction = "minimize"`.

    Raises:
        ConfigurationError: There is none of this name, or its file cannot be read.
    """
    own = Own.parse(_FIELD, name)
    if own is None:
        return METRICS[choice(_FIELD, name, [*METRICS])]
    fields = {**_DEFAULTS, **{k: v for k, v in own.constants().items() if k in _DEFAULTS}}
    for attribute, allowed in _ALLOWED.items():
        if fields[attribute] not in allowed:
            problem = f"{own.title}.{attribute} is unknown"
            remedy = f"choose from {', '.join(allowed)}"
            raise ConfigurationError(_FIELD, problem, value=fields[attribute], remedy=remedy)
    if fields["perfect"] is None:
        fields["perfect"] = 1.0 if fields["direction"] == "maximize" else 0.0
    if not _is_number(fields["perfect"]):
        problem = f"{own.title}.perfect must be a number"
        raise ConfigurationError(_FIELD, problem, value=fields["perfect"])
    return Metric(own.title, own.title, **fields, address=own.address, digest=own.digest)


def metric_of(name: str) -> Metric:
    """The metric of a name in a record, to write its values: a user's file may be gone."""
    return METRICS.get(name, Metric(name, name))


def probabilities(logits: Answers) -> Answers:
    """Probabilities (N, classes), float64, of logits (N, classes)."""
    import numpy as np

    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(1, keepdims=True))
    shares: Answers = powers / powers.sum(1, keepdims=True)
    return shares


def as_json(metric: Metric) -> dict[str, Any]:
    """Plain values, of which `Metric(**values)` is the same metric, whatever became of its file."""
    return asdict(metric)


def _own(metric: Metric, given: Answers | Labels, targets: Targets) -> Weighted:
    import numpy as np

    own = Own.parse(_FIELD, metric.address)
    assert own is not None
    function = own.load()

    def value(weights: Weights) -> float:
        rows = np.repeat(np.arange(len(weights)), weights)
        with own.explained():
            found = function(given[rows], targets[rows])
            number = float(found) if _is_number(found) else math.nan
        if math.isfinite(number) and metric.gain(metric.perfect, number) <= 0:
            return number
        what = "returned no finite number"
        remedy = f"return a number; it was called with {len(rows)} examples"
        if math.isfinite(number):
            what = f"returned what is better than perfect, {metric.perfect:g}"
            remedy = f"set {own.name}.perfect or {own.name}.direction in the file"
        problem = f"{own.path}, line {own.line}: {own.name} {what}"
        raise ConfigurationError(_FIELD, problem, value=found, remedy=remedy)

    return value


def _is_number(value: object) -> bool:
    import numpy as np

    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
