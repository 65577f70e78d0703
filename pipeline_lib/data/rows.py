"""Which part a row is in: by a hash of what it is, so that it stays there when data grow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.store import mapped
from pipeline_lib.errors import ConfigurationError

Keys = npt.NDArray[np.uint64]

_FILES = ("keys", "contents", "chosen", "order")


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of each example besides inputs and target, (N,) each.

    Attributes:
        keys: Of its group, else of its content; rows with one key are in one part.
        contents: Of its content; equal ones are exact copies.
        chosen: Whether the source says that it is for validation.
        order: Its place in time, or empty.
    """

    keys: Keys
    contents: Keys
    chosen: npt.NDArray[np.bool_]
    order: npt.NDArray[np.int64]

    def save(self, directory: Path) -> None:
        """Write them into a directory that is there."""
        for name in _FILES:
            np.save(directory / f"rows_{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, directory: Path) -> Rows:
        """Those that `save` wrote, mapped.

        Raises:
            DataError: They are gone.
        """
        found: dict[str, Any] = {name: mapped(directory / f"rows_{name}.npy") for name in _FILES}
        return cls(**found)

    @property
    def are_in_order(self) -> bool:
        """Whether time decides."""
        return len(self.order) > 0

    def only(self, kept: npt.NDArray[np.int64]) -> Rows:
        """Some of them."""
        order = self.order[kept] if self.are_in_order else self.order
        return Rows(self.keys[kept], self.contents[kept], self.chosen[kept], order)


def key_of(text: bytes) -> int:
    """64 bits of a group's name or of a content's SHA-256."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def drawn(keys: Keys, seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each key, (N,): the same wherever and whenever it is drawn."""
    salt = hashlib.blake2b(f"{purpose} {seed}".encode(), digest_size=8).digest()
    mixed = keys ^ np.uint64(int.from_bytes(salt, "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64's
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def held_out(
    rows: Rows, labels: npt.NDArray[np.int64], share: float, seed: int, purpose: str
) -> npt.NDArray[np.bool_]:
    """Which rows a share takes out of those that are not chosen for validation, (N,).

    By time the latest of them. Otherwise those whose key is drawn below the share, which depends on
    no other row. A class that would have nothing left keeps the key that was drawn highest: only
    there may a row change its part, when its class grows.
    """
    free = ~rows.chosen
    if rows.are_in_order:
        ranks = np.sort(rows.order[free])
        first = ranks[min(len(ranks) - 1, round(len(ranks) * (1 - share)))]
        latest: npt.NDArray[np.bool_] = free & (rows.order >= first)
        return latest
    numbers = drawn(rows.keys, seed, purpose)
    out: npt.NDArray[np.bool_] = free & (numbers < share)
    for label in np.setdiff1d(labels, labels[free & ~out]):
        members = np.flatnonzero(free & (labels == label))
        if len(members):
            out &= rows.keys != rows.keys[members[numbers[members].argmax()]]
    return out


def folds(
    rows: Rows, labels: npt.NDArray[np.int64], count: int, seed: int
) -> npt.NDArray[np.int64]:
    """Which of `count` folds (from 0) each row is in, (N,).

    By time, folds follow one another. Otherwise keys are dealt out, those of every class evenly.
    """
    if rows.are_in_order:
        ranks = np.searchsorted(np.sort(rows.order), rows.order)
        return (ranks * count // len(ranks)).astype(np.int64)
    keys, first, inverse = np.unique(rows.keys, return_index=True, return_inverse=True)
    dealt = np.empty(len(keys), np.int64)
    dealt[np.lexsort((drawn(keys, seed, "folds"), labels[first]))] = np.arange(len(keys)) % count
    found: npt.NDArray[np.int64] = dealt[inverse]
    return found


def without_copies(
    rows: Rows, train: npt.NDArray[np.bool_], held: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """The rows of `train` of which no exact copy is held out."""
    kept: npt.NDArray[np.bool_] = train & ~np.isin(rows.contents, rows.contents[held])
    return kept


def divided(
    rows: Rows,
    labels: npt.NDArray[np.int64],
    share: float,
    seed: int,
    part: tuple[int, int] | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Training and validation rows (int64, ascending), no exact copy in both.

    Args:
        rows: What decides.
        labels: The class of each row, (N,).
        share: For validation, in (0, 1), where the source did not choose.
        seed: Not negative.
        part: Which of how many folds is held out, in place of a share.

    Raises:
        ConfigurationError: One of the parts would be empty.
    """
    if part is not None:
        number, count = part
        held = folds(rows, labels, count, seed) == number
    elif rows.chosen.any():
        held = np.asarray(rows.chosen)
    else:
        held = held_out(rows, labels, share, seed, "validation")
    train = without_copies(rows, ~held, held)
    if not (train.any() and held.any()):
        empty = "validate with" if train.any() else "learn from"
        problem, remedy = f"leaves nothing to {empty}", "give more pictures, or another share"
        raise ConfigurationError("validation_share", problem, value=share, remedy=remedy)
    return np.flatnonzero(train), np.flatnonzero(held)
