"""The formulas of the built-in metrics.

Once answers and targets are fixed, a metric is a function of the examples' weights. So a bootstrap
and a permutation test, which ask for thousands of weightings of the same examples, sort and count
only once. That is why the formulas stand here: scikit-learn's, to which the tests hold them, take
milliseconds a call, and a second to import in every process that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Answers = npt.NDArray[np.floating]
    """Probabilities (N, classes); logits serve as well where only labels are needed."""
    Targets = npt.NDArray[np.int64]
    Weights = npt.NDArray[np.int64]
    Labels = npt.NDArray[np.int64]

Weighted = Callable[["Weights"], float]
"""The value of fixed answers when each example counts as often as its weight (N,) says."""

_LEAST_PROBABILITY = 2.220446049250313e-16  # scikit-learn's: a certain mistake costs 36, not ∞


def _accuracy(labels: Labels, targets: Targets, classes: int) -> Weighted:
    right = labels == targets
    return lambda weights: float((weights * right).sum() / weights.sum())


def _from_confusion(formula: Callable[[Any], float]) -> Callable[[Labels, Targets, int], Weighted]:
    """A metric that is a formula of the confusion matrix (true class, predicted class)."""

    def of(labels: Labels, targets: Targets, classes: int) -> Weighted:
        import numpy as np

        cells = targets * classes + labels  # (N,)

        def value(weights: Weights) -> float:
            counts = np.bincount(cells, weights, classes**2).reshape(classes, classes)
            with np.errstate(divide="ignore", invalid="ignore"):
                return formula(counts)

        return value

    return of


def _balanced_accuracy(counts: Any) -> float:
    """Mean recall of the classes that there are."""
    sizes = counts.sum(1)
    return float((counts.diagonal()[sizes > 0] / sizes[sizes > 0]).mean())


def _macro_f1(counts: Any) -> float:
    """Mean F1 of the classes that there are, or that were answered."""
    both = counts.sum(0) + counts.sum(1)
    return float((2 * counts.diagonal()[both > 0] / both[both > 0]).mean())


def _kappa(counts: Any) -> float:
    """Agreement beyond that of independent answers (Cohen 1960); 0 where nothing can be beyond."""
    total = counts.sum()
    seen = counts.trace() / total
    by_chance = float(counts.sum(0) @ counts.sum(1)) / total**2
    return float((seen - by_chance) / (1 - by_chance)) if by_chance < 1 else 0.0


def _log_loss(answers: Answers, targets: Targets, classes: int) -> Weighted:
    import numpy as np

    of_truth = answers[np.arange(len(targets)), targets] / answers.sum(1)
    losses = -np.log(np.clip(of_truth, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY))  # (N,)
    return lambda weights: float((weights * losses).sum() / weights.sum())


def _roc_auc(answers: Answers, targets: Targets, classes: int) -> Weighted:
    """Mean over the classes of the chance that one of it gets more than one of the rest."""
    import numpy as np

    sorting = answers.argsort(0)  # (N, classes): of each class, the least probable first
    ordered = np.take_along_axis(answers, sorting, 0)
    positive = targets[sorting] == np.arange(classes)  # (N, classes)
    new = np.ones(positive.shape, bool)
    new[1:] = ordered[1:] != ordered[:-1]
    ties = new.cumsum(0) - 1 + np.arange(classes) * len(targets)  # (N, classes): group of equals
    groups = ties.ravel()

    def value(weights: Weights) -> float:
        own = weights[sorting]  # (N, classes)
        size = len(targets) * classes
        ours = np.bincount(groups, (own * positive).ravel(), size).reshape(classes, -1)
        others = np.bincount(groups, (own * ~positive).ravel(), size).reshape(classes, -1)
        below = others.cumsum(1) - others / 2  # equals count half
        pairs = ours.sum(1) * others.sum(1)
        wins = (ours * below).sum(1)
        return float((wins[pairs > 0] / pairs[pairs > 0]).mean()) if pairs.any() else 0.5

    return value


BUILT_IN: Mapping[str, Callable[[Any, Targets, int], Weighted]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _from_confusion(_balanced_accuracy),
    "macro_f1": _from_confusion(_macro_f1),
    "log_loss": _log_loss,
    "roc_auc": _roc_auc,
    "kappa": _from_confusion(_kappa),
}
