"""Dividing the examples into a part to learn from and a part to choose by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.examples import Examples, Labels
from pipeline_lib.data.problem import Problem
from pipeline_lib.data.rows import divided
from pipeline_lib.data.source import Source, reopen
from pipeline_lib.data.sources.catalogue import find
from pipeline_lib.errors import ConfigurationError
from pipeline_lib.home import Home
from pipeline_lib.metrics import ACCURACY

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """All that a search gets of a data set: a source, and how its examples are divided.

    It is small and made to be sent to other processes: what it leads to is opened where it is used,
    and is never sent along.
    """

    source: Source
    seed: int
    share: float  # of the examples, for validation; in (0, 1)
    part: tuple[int, int] | None = None  # which of how many folds is held out, in place of a share
    metric: str = ACCURACY.name  # what models are chosen by on the validation part

    @property
    def problem(self) -> Problem:
        """What is to be learned."""
        return replace(self.source.problem, metric=self.metric)

    @cached_property
    def examples(self) -> Examples:
        """Those of both parts.

        Raises:
            DataError: They are gone.
        """
        return self.source.examples()

    @property
    def train(self) -> Indices:
        """Rows to learn from, ascending."""
        return self._parts[0]

    @property
    def validation(self) -> Indices:
        """Rows to choose by, ascending."""
        return self._parts[1]

    @property
    def validation_targets(self) -> Labels:
        """The classes of the rows to choose by."""
        targets: Labels = self.examples.targets[self.validation]
        return targets

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the data set's digest and the rows of both parts."""
        digest = hashlib.sha256(self.problem.digest.encode())
        digest.update(self.train.tobytes() + b"|" + self.validation.tobytes())
        return digest.hexdigest()

    @property
    def lineage(self) -> str:
        """What decides about the part of every row; empty where other rows have a say in it.

        Models that were chosen under one lineage can be compared on the validation rows of either:
        none of them was trained on.
        """
        if not self.source.lineage or self.part is not None:
            return ""
        decided = json.dumps([self.source.lineage, self.seed, self.share])
        return hashlib.sha256(decided.encode()).hexdigest()

    def fold(self, number: int, count: int) -> Split:
        """The split that holds out fold `number`, from 0, of so many."""
        return replace(self, part=(number, count))

    def as_json(self, home: Home) -> dict[str, Any]:
        """Plain values, of which `from_json` makes the same split."""
        rows = {"seed": self.seed, "share": self.share, "part": self.part}
        source = self.source.as_json(home)
        return {"problem": self.problem.as_json(), "source": source, "split": rows}

    @classmethod
    def from_json(cls, known: Mapping[str, Any], home: Home) -> Split:
        """The split that a record holds, in whichever form."""
        given = known if "problem" in known else _of_old(known)
        source = reopen(Problem.from_json(given["problem"]), given["source"], home)
        rows = given["split"]
        part = rows["part"] and tuple(rows["part"])
        return cls(source, rows["seed"], rows["share"], part, source.problem.metric)

    @cached_property
    def _parts(self) -> tuple[Indices, Indices]:
        targets, rows = self.examples.targets, self.source.rows()
        if rows is not None:
            return divided(rows, targets, self.share, self.seed, self.part)
        if self.part is None:
            return stratified_split(targets, self.share, self.seed)
        number, count = self.part
        held_out = stratified_folds(targets, count, self.seed) == number
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def __reduce__(self) -> tuple[type[Split], tuple[Any, ...]]:
        """Its fields alone, without what was opened."""
        return Split, tuple(getattr(self, field.name) for field in fields(self))


def _of_old(known: Mapping[str, Any]) -> dict[str, Any]:
    """A record of before there were problems, when every data set was one of the catalogue."""
    directory = Path(known["images"]).parents[1]
    return {
        "problem": find(known["dataset"]).problem(known["digest"]).as_json(),
        "source": {"kind": "catalogue", "directory": str(directory)},
        "split": {
            "seed": known["seed"],
            "share": known["validation_share"],
            "part": known["fold"],
        },
    }


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
