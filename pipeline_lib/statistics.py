"""Paired comparisons: two models answered the same images; is one of them better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING

from pipeline_lib.formats import p_value
from pipeline_lib.metrics import ACCURACY, Metric, probabilities
from pipeline_lib.resampling import (
    ALPHA,
    bootstrap,
    bootstrap_interval,
    paired_counts,
    percentiles,
    permutation_test,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline_lib.metric_formulas import Answers

    Labels = npt.NDArray[np.int64]

POWER = 0.8


@dataclass(frozen=True)
class Units:
    """How differences of a metric are written: in points of a share, else as they are."""

    metric: Metric

    def text(self, difference: float, sign: str = "") -> str:
        """`0.62`, of points where the metric is a share."""
        scaled = 100 * difference if self.metric.is_share else difference
        digits = 2 if self.metric.is_share else 4
        return f"{scaled:{sign}.{digits}f}"

    def amount(self, difference: float, sign: str = "") -> str:
        """`0.62 points`."""
        return f"{self.text(difference, sign)} {self.name}"

    @property
    def name(self) -> str:
        """What stands after a difference."""
        if self.metric == ACCURACY:
            return "points"
        return f"{'points of' if self.metric.is_share else 'in'} {self.metric.title}"

    def interval(self, ends: tuple[float, float]) -> str:
        """A 95 % interval."""
        low, high = map(self.text, ends)
        return f"95% CI {low}–{high}" if ends[0] >= 0 else f"95% CI {low} to {high}"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images. `a` is at least as good as `b`."""

    a: str
    b: str
    difference: float  # by which a is better than b, ≥ 0
    interval: tuple[float, float]  # 95 %, of the difference
    p: float  # two-sided: exact McNemar test of accuracies, else permutation test
    adjusted_p: float  # for all pairs compared together
    detectable: float  # a true difference that is shown in 80 of 100 such comparisons
    metric: Metric = ACCURACY

    @property
    def shown(self) -> bool:
        """Whether `a` is shown to be better: the test and the interval both say so."""
        return self.adjusted_p < ALPHA and self.interval[0] > 0

    def sentence(self) -> str:
        """What the numbers say, in words; the p-value is the adjusted one."""
        units = Units(self.metric)
        found = f"{units.interval(self.interval)}, {p_value(self.adjusted_p)}"
        if self.shown:
            better = f"{self.a[:1].upper()}{self.a[1:]} is significantly better than {self.b}"
            return f"{better} by {units.amount(self.difference)}, {found}"
        return (
            f"No significant difference between {self.a} and {self.b} "
            f"({units.amount(self.difference, '+')}, {found}); "
            f"minimum detectable difference {units.amount(self.detectable)}"
        )


@dataclass(frozen=True)
class Paired:
    """The answers of several models to the same images, and how they are compared in pairs."""

    answers: Mapping[str, Answers]  # logits (N, classes) by model
    targets: Labels  # (N,), the strata of the resampling
    metric: Metric = ACCURACY
    seed: int = 0  # of the resampling
    tries: Mapping[str, int] = field(default_factory=dict)
    """By model, where a p-value of it times so many must still be small: see `comparison`."""

    def all_pairs(self) -> tuple[Comparison, ...]:
        """Every pair of models, Holm's correction over all pairs."""
        pairs = list(combinations(self.answers, 2))
        apart = [self.pair(a, b, ALPHA / len(pairs)) for a, b in pairs]
        adjusted = holm([comparison.p for comparison in apart])
        return tuple(replace(c, adjusted_p=p) for c, p in zip(apart, adjusted, strict=True))

    def pair(self, a: str, b: str, alpha: float = ALPHA) -> Comparison:
        """Two of the models, uncorrected; `alpha` is the level that `detectable` is meant for."""
        return (self._accuracies if self.metric == ACCURACY else self._scores)(a, b, alpha)

    def _accuracies(self, a: str, b: str, alpha: float) -> Comparison:
        import numpy as np

        right = {name: self.answers[name].argmax(1) == self.targets for name in (a, b)}
        if right[a].sum() < right[b].sum():
            a, b = b, a
        table = paired_counts(right[a], right[b], self.targets)
        only_a, only_b = int(table[:, 1].sum()), int(table[:, 2].sum())
        size = len(self.targets)
        p = mcnemar(only_a, only_b)
        return Comparison(
            a=a,
            b=b,
            difference=(only_a - only_b) / size,
            interval=bootstrap_interval(table, np.random.default_rng(self.seed)),
            p=p,
            adjusted_p=p,
            detectable=detectable_difference(size, (only_a + only_b) / size, alpha),
        )

    def _scores(self, a: str, b: str, alpha: float) -> Comparison:
        """By resampling; what is detectable by the normal approximation to its spread."""
        import numpy as np
        from scipy.stats import norm

        metric, generator = self.metric, np.random.default_rng(self.seed)
        given = {name: probabilities(self.answers[name]) for name in (a, b)}
        values = {name: metric.score(each, self.targets) for name, each in given.items()}
        if metric.gain(values[b], values[a]) < 0:
            a, b = b, a
        pair = (given[a], given[b])
        better, worse = bootstrap(metric, pair, self.targets, generator)
        gains = better - worse if metric.direction == "maximize" else worse - better
        strictest = min(alpha, *(ALPHA / self.tries.get(name, 1) for name in (a, b)))
        p = permutation_test(metric, pair, self.targets, generator, strictest)
        reach = float(norm.isf(alpha / 2) + norm.ppf(POWER))
        return Comparison(
            a=a,
            b=b,
            difference=metric.gain(values[b], values[a]),
            interval=percentiles(gains),
            p=p,
            adjusted_p=p,
            detectable=reach * float(np.std(gains)),
            metric=metric,
        )


@dataclass(frozen=True)
class FoldComparison:
    """Two models, each trained anew on the same folds. `a` is at least as good on average."""

    a: str
    b: str
    differences: tuple[float, ...]  # by fold: by which a is better than b
    interval: tuple[float, float]  # 95 %, of the mean difference
    p: float  # corrected resampled t-test, two-sided
    adjusted_p: float  # for all pairs compared together
    detectable: float  # a true difference that is shown in 80 of 100 such comparisons
    metric: Metric = ACCURACY

    @property
    def difference(self) -> float:
        """Mean over the folds."""
        return sum(self.differences) / len(self.differences)

    def sentence(self) -> str:
        """What the folds say, in words; the p-value is the adjusted one."""
        units = Units(self.metric)
        low, high = map(units.text, self.interval)
        by_fold = ", ".join(units.text(each, "+") for each in self.differences)
        found = (
            f"{units.amount(self.difference, '+')} on average ({by_fold}), corrected "
            f"resampled t-test: 95% CI {low} to {high}, {p_value(self.adjusted_p)}"
        )
        seen = f"minimum detectable difference {units.amount(self.detectable)}"
        shown = self.adjusted_p < ALPHA and self.interval[0] > 0
        verb = "is significantly better than" if shown else "is not significantly better than"
        return f"On {len(self.differences)} folds {self.a} {verb} {self.b}: {found}; {seen}"


def compare_on_folds(
    values: Mapping[str, Sequence[float]], metric: Metric = ACCURACY
) -> tuple[FoldComparison, ...]:
    """Every pair of models by their values on the same folds, with Holm's correction."""
    apart = []
    for a, b in combinations(values, 2):
        if metric.gain(sum(values[b]), sum(values[a])) < 0:
            a, b = b, a  # noqa: PLW2901  # in the order of the comparison
        differences = tuple(metric.gain(y, x) for x, y in zip(values[a], values[b], strict=True))
        interval, p, detectable = corrected_t_test(differences)
        apart.append(FoldComparison(a, b, differences, interval, p, p, detectable, metric))
    adjusted = holm([comparison.p for comparison in apart])
    return tuple(replace(c, adjusted_p=p) for c, p in zip(apart, adjusted, strict=True))


def corrected_t_test(
    differences: Sequence[float],
) -> tuple[tuple[float, float], float, float]:
    """Interval and p-value of the mean difference over K folds, and what such folds can show.

    Trainings on folds share images, so the variance of their mean is (1/K + 1/(K - 1)) of the
    variance between them, not 1/K of it (Nadeau & Bengio 2003, sec. 3; the ratio of held-out to
    training images is 1/(K - 1)). The difference shown is the one of a power of 80 %.

    Args:
        differences: By fold, two at least.
    """
    import numpy as np
    from scipy.stats import t

    count = len(differences)
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1) * np.sqrt(1 / count + 1 / (count - 1)))
    reach = float(t.isf(ALPHA / 2, count - 1))
    p = 2 * float(t.sf(abs(mean) / error if error else np.inf, count - 1)) if mean else 1.0
    interval = (mean - reach * error, mean + reach * error)
    return interval, p, (reach + float(t.isf(1 - POWER, count - 1))) * error


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value of the exact test that a and b are right alone equally often.

    McNemar 1947, with the binomial in place of χ², which needs many disagreements.
    """
    from scipy.stats import binomtest

    apart = only_a + only_b
    return float(binomtest(only_a, apart).pvalue) if apart else 1.0


def holm(p_values: list[float]) -> list[float]:
    """P-values adjusted for being looked at together (Holm 1979)."""
    import numpy as np

    raw = np.asarray(p_values, dtype=np.float64)
    order = raw.argsort()
    adjusted = np.empty_like(raw)
    raised = raw[order] * np.arange(len(raw), 0, -1)  # the smallest is one of all
    adjusted[order] = np.maximum.accumulate(raised).clip(max=1.0)
    return [float(p) for p in adjusted]


def power(size: int, disagreement: float, difference: float, alpha: float = ALPHA) -> float:
    """Chance that the exact McNemar test shows a true difference, in the right direction.

    Args:
        size: Images compared on, ≥ 1.
        disagreement: Share of images on which one of the two alone is right, in (0, 1].
        difference: True difference of the accuracies, in [0, disagreement].
        alpha: Level of the two-sided test.
    """
    import numpy as np
    from scipy.stats import binom

    low, high = binom.interval(1 - 1e-9, size, disagreement)
    counts = np.arange(low, high + 1)  # of images they disagree on
    enough = binom.isf(alpha / 2, counts, 0.5) + 1  # so many to one side are significant
    share = (disagreement + difference) / (2 * disagreement)
    chance = binom.pmf(counts, size, disagreement) * binom.sf(enough - 1, counts, share)
    return float(chance.sum())


def detectable_difference(size: int, disagreement: float, alpha: float = ALPHA) -> float:
    """Smallest true difference that is shown with a power of 80 %, in (0, 1].

    Models that differ by more than they were seen to disagree must disagree more; so the
    disagreement is taken to be at least the difference. 1 where nothing could be shown.
    """
    from scipy.optimize import brentq

    def lacking(difference: float) -> float:
        return power(size, max(disagreement, difference), difference, alpha) - POWER

    if lacking(1.0) < 0:
        return 1.0
    return float(brentq(lacking, 1e-9, 1.0, xtol=1e-6))
