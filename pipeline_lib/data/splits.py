"""Dividing the training images into a part to learn from and a part to choose by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline_lib.errors import ConfigurationError

Indices = npt.NDArray[np.int64]


def stratified_split(
    labels: npt.NDArray[np.int64], validation_share: float, seed: int
) -> tuple[Indices, Indices]:
    """Training and validation indices (int64, ascending), the classes in proportion.

    Every class gives `validation_share` of its members, rounded down or up by the largest
    remainders so that the validation part has `round(len(labels) * validation_share)` in all. A
    class of two or more is in both parts, a class of one is in training, even where that moves the
    total.

    Args:
        labels: The class of each image, (N,).
        validation_share: In (0, 1).
        seed: Not negative; the same seed gives the same split.

    Raises:
        ConfigurationError: The share leaves one of the parts empty.
    """
    if not 0 < validation_share < 1:
        problem = "must be more than 0 and less than 1"
        raise ConfigurationError("validation_share", problem, value=validation_share)
    random = np.random.default_rng(seed)
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(labels), dtype=bool)
    for number, quota in enumerate(_quotas(sizes, validation_share)):
        members = np.flatnonzero(classes == number)
        chosen[random.permutation(members)[:quota]] = True
    if not chosen.any():
        problem = f"leaves nothing to validate with: none of {len(sizes)} classes has two images"
        raise ConfigurationError("validation_share", problem, value=validation_share)
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def stratified_folds(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of `count` folds (from 0) each image is in, (N,); every class is dealt out evenly.

    Args:
        labels: The class of each image, (N,).
        count: Folds, ≥ 2.
        seed: Not negative; the same seed gives the same folds.

    Raises:
        ConfigurationError: There are fewer images than folds.
    """
    if len(labels) < count:
        problem = f"must be at most the number of images, {len(labels)}"
        raise ConfigurationError("validation_folds", problem, value=count)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[by_class] = np.arange(len(labels)) % count
    return folds


def _quotas(sizes: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.int64]:
    """How many of each class go to validation: largest remainders between two bounds."""
    exact = sizes * share
    fewest = np.minimum(sizes > 1, sizes - 1)
    low: npt.NDArray[np.int64] = np.clip(np.floor(exact), fewest, sizes - 1).astype(np.int64)
    high = np.clip(np.ceil(exact), fewest, sizes - 1).astype(np.int64)
    missing = max(0, round(float(sizes.sum()) * share) - int(low.sum()))
    by_remainder = np.argsort(low - exact, kind="stable")
    open_to_more = by_remainder[(low < high)[by_remainder]]
    low[open_to_more[:missing]] += 1
    return low
