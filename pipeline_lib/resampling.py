"""What chance makes of a metric: stratified bootstraps and the paired permutation test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline_lib.metric_formulas import Answers, Targets
    from pipeline_lib.metrics import Metric

    Values = npt.NDArray[np.float64]
    Right = npt.NDArray[np.bool_]
    Labels = npt.NDArray[np.int64]
    Counts = npt.NDArray[np.int64]

ALPHA = 0.05
RESAMPLES = 1000
_RESAMPLES_OF_COUNTS = 10_000  # each is a few numbers
_FINEST = 10
"""How many times finer than the level of a test its p-values are."""
_SEEN_ENOUGH = 20
"""Permutations as extreme as what was seen after which a test ends: it shows nothing."""


def bootstrap(
    metric: Metric, answers: Sequence[Answers], targets: Targets, generator: np.random.Generator
) -> Values:
    """Values (models, resamples) of models' answers to the same examples, drawn anew.

    Examples are drawn with replacement within each class, every model's answers to one together
    (Efron & Tibshirani 1993, ch. 13).

    Args:
        metric: What is computed.
        answers: Of each model, (N, classes).
        targets: (N,), the strata.
        generator: Where the chance comes from.
    """
    import numpy as np

    models = [metric.weighted(each, targets) for each in answers]
    strata = [np.flatnonzero(targets == label) for label in np.unique(targets)]
    weights = np.zeros(len(targets), np.int64)
    found = np.empty((len(models), RESAMPLES))
    for place in range(RESAMPLES):
        for rows in strata:
            drawn = generator.integers(len(rows), size=len(rows))
            weights[rows] = np.bincount(drawn, minlength=len(rows))
        found[:, place] = [value(weights) for value in models]
    return found


def permutation_test(
    metric: Metric,
    pair: tuple[Answers, Answers],
    targets: Targets,
    generator: np.random.Generator,
    alpha: float,
) -> float:
    """Two-sided p-value of the exchangeability of two models' answers to each example.

    Answers change places with probability ½, example by example (Good 2005, ch. 3). There are
    enough permutations for p-values ten times below `alpha`, which a correction asks for; where
    twenty are as extreme as what was seen, the test ends (Besag & Clifford 1991).

    Args:
        metric: Whose difference is tested.
        pair: Answers (N, classes) of both models.
        targets: (N,).
        generator: Where the chance comes from.
        alpha: The strictest level that the p-value is held against.
    """
    import numpy as np

    size = len(targets)
    both = metric.weighted(np.concatenate(pair), np.concatenate([targets, targets]))
    first = np.repeat([1, 0], size)  # the weights with which the first model is scored
    seen = abs(both(first) - both(1 - first)) - 1e-12  # sums differ with the order of their terms
    most = max(999, math.ceil(_FINEST / alpha) - 1)
    extreme = 0
    for drawn in range(1, most + 1):
        kept = generator.integers(2, size=size)
        first = np.concatenate([kept, 1 - kept])
        extreme += abs(both(first) - both(1 - first)) >= seen
        if extreme == _SEEN_ENOUGH and drawn < most:
            return extreme / drawn
    return (extreme + 1) / (most + 1)


def percentiles(values: Values) -> tuple[float, float]:
    """The interval that holds 95 % of the values, as many below it as above."""
    import numpy as np

    low, high = np.quantile(values, (ALPHA / 2, 1 - ALPHA / 2))
    return float(low), float(high)


def paired_counts(right_a: Right, right_b: Right, labels: Labels) -> Counts:
    """Images by class and outcome (classes, 4): both right, only a, only b, both wrong."""
    import numpy as np

    outcome = 2 * ~right_a + ~right_b  # 0 both, 1 only a, 2 only b, 3 none
    classes = int(labels.max()) + 1
    return np.bincount(labels * 4 + outcome, minlength=4 * classes).reshape(classes, 4)


def bootstrap_interval(
    table: Counts, generator: np.random.Generator, resamples: int = _RESAMPLES_OF_COUNTS
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
    return percentiles(only_a_more / table.sum())
