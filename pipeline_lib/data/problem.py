"""What is to be learned, as a small value that crosses processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Image:
    """Pictures as a network takes them: uint8, all of one shape."""

    channels: int
    height: int  # pixels
    width: int  # pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Classes:
    """One class of several for each example; targets are places in `names`."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Problem:
    """Inputs, target, metric and sizes of a data set, without any of its examples."""

    name: str  # names model, experiment and ledger
    title: str  # for people
    inputs: Image
    target: Classes
    train_size: int  # examples for training and validation together
    test_size: int
    digest: str  # SHA-256 that tells these data from others
    metric: str = "accuracy"  # a name of `metrics.py`, or file.py:function

    def as_json(self) -> dict[str, Any]:
        """Plain values, of which `from_json` makes the same problem."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Problem:
        """The problem that `as_json` gave these values."""
        inputs = Image(**fields["inputs"])
        target = Classes(tuple(fields["target"]["names"]))
        return cls(**{**fields, "inputs": inputs, "target": target})
