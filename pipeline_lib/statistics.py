"""Paired comparisons: two models answered the same images; is one of them better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from pipeline_lib.formats import p_value

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Right = npt.NDArray[np.bool_]
    Labels = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.int64]

ALPHA = 0.05
POWER = 0.8
RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images. `a` is right at least as often as `b`."""

    a: str
    b: str
    difference: float  # accuracy of a minus accuracy of b
    interval: tuple[float, float]  # 95 %, of the difference
    p: float  # exact McNemar test, two-sided
    adjusted_p: float  # for all pairs compared together
    detectable: float  # a true difference that is shown in 80 of 100 such comparisons

    @property
    def shown(self) -> bool:
        """Whether `a` is shown to be better: the test and the interval both say so."""
        return self.adjusted_p < ALPHA and self.interval[0] > 0

    def sentence(self) -> str:
        """What the numbers say, in words; the p-value is the adjusted one."""
        low, high = (100 * end for end in self.interval)
        between = f"{low:.2f}–{high:.2f}" if low >= 0 else f"{low:.2f} to {high:.2f}"
        found = f"95% CI {between}, {p_value(self.adjusted_p)}"
        if self.shown:
            better = f"{self.a[:1].upper()}{self.a[1:]} is significantly better than {self.b}"
            return f"{better} by {100 * self.difference:.2f} points, {found}"
        return (
            f"No significant difference between {self.a} and {self.b} "
            f"({100 * self.difference:+.2f} points, {found}); "
            f"minimum detectable difference {100 * self.detectable:.2f} points"
        )


def compare_all(right: Mapping[str, Right], labels: Labels, seed: int) -> tuple[Comparison, ...]:
    """Every pair of models, Holm's correction over all pairs.

    Args:
        right: By model, whether it was right on each image, (N,).
        labels: True classes (N,), the strata of the resampling.
        seed: Of the resampling.
    """
    pairs = list(combinations(right, 2))
    apart = [compare_pair(a, b, right, labels, seed, ALPHA / len(pairs)) for a, b in pairs]
    adjusted = holm([comparison.p for comparison in apart])
    return tuple(replace(c, adjusted_p=p) for c, p in zip(apart, adjusted, strict=True))


def compare_pair(
    a: str, b: str, right: Mapping[str, Right], labels: Labels, seed: int, alpha: float = ALPHA
) -> Comparison:
    """Two of the models, uncorrected; `alpha` is the level that `detectable` is meant for."""
    import numpy as np

    if right[a].sum() < right[b].sum():
        a, b = b, a
    table = paired_counts(right[a], right[b], labels)
    only_a, only_b = int(table[:, 1].sum()), int(table[:, 2].sum())
    size = len(labels)
    p = mcnemar(only_a, only_b)
    return Comparison(
        a=a,
        b=b,
        difference=(only_a - only_b) / size,
        interval=bootstrap_interval(table, np.random.default_rng(seed)),
        p=p,
        adjusted_p=p,
        detectable=detectable_difference(size, (only_a + only_b) / size, alpha),
    )


@dataclass(frozen=True)
class FoldComparison:
    """Two models, each trained anew on the same folds. `a` is at least as accurate on average."""

    a: str
    b: str
    differences: tuple[float, ...]  # by fold: accuracy of a minus accuracy of b
    interval: tuple[float, float]  # 95 %, of the mean difference
    p: float  # corrected resampled t-test, two-sided
    adjusted_p: float  # for all pairs compared together
    detectable: float  # a true difference that is shown in 80 of 100 such comparisons

    @property
    def difference(self) -> float:
        """Mean over the folds."""
        return sum(self.differences) / len(self.differences)

    def sentence(self) -> str:
        """What the folds say, in words; the p-value is the adjusted one."""
        low, high = (100 * end for end in self.interval)
        by_fold = ", ".join(f"{100 * each:+.2f}" for each in self.differences)
        found = (
            f"{100 * self.difference:+.2f} points on average ({by_fold}), corrected resampled "
            f"t-test: 95% CI {low:.2f} to {high:.2f}, {p_value(self.adjusted_p)}"
        )
        seen = f"minimum detectable difference {100 * self.detectable:.2f} points"
        shown = self.adjusted_p < ALPHA and self.interval[0] > 0
        verb = "is significantly better than" if shown else "is not significantly better than"
        return f"On {len(self.differences)} folds {self.a} {verb} {self.b}: {found}; {seen}"


def compare_on_folds(accuracies: Mapping[str, Sequence[float]]) -> tuple[FoldComparison, ...]:
    """Every pair of models by their accuracies on the same folds, with Holm's correction."""
    apart = []
    for a, b in combinations(accuracies, 2):
        if sum(accuracies[a]) < sum(accuracies[b]):
            a, b = b, a  # noqa: PLW2901  # in the order of the comparison
        differences = tuple(x - y for x, y in zip(accuracies[a], accuracies[b], strict=True))
        interval, p, detectable = corrected_t_test(differences)
        apart.append(FoldComparison(a, b, differences, interval, p, p, detectable))
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


def paired_counts(right_a: Right, right_b: Right, labels: Labels) -> Counts:
    """Images by class and outcome (classes, 4): both right, only a, only b, both wrong."""
    import numpy as np

    outcome = 2 * ~right_a + ~right_b  # 0 both, 1 only a, 2 only b, 3 none
    classes = int(labels.max()) + 1
    return np.bincount(labels * 4 + outcome, minlength=4 * classes).reshape(classes, 4)


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


def bootstrap_interval(
    table: Counts, generator: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of the accuracy difference (Efron & Tibshirani 1993, ch. 13).

    Images are drawn anew within each class, both models' answers to an image together. All that
    counts of a draw is how many images fell on each of the four outcomes: one multinomial number.

    Args:
        table: Images by class and outcome, as `paired_counts` gives them.
        generator: Where the chance comes from.
        resamples: How many draws.
    """
    import numpy as np

    only_a_more = np.zeros(resamples)
    for counts in table[table.sum(1) > 0]:
        drawn = generator.multinomial(counts.sum(), counts / counts.sum(), resamples)  # (R, 4)
        only_a_more += drawn[:, 1] - drawn[:, 2]
    low, high = np.quantile(only_a_more / table.sum(), (ALPHA / 2, 1 - ALPHA / 2))
    return float(low), float(high)


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
