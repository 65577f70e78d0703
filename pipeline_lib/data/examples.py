"""Labelled examples, read by batch, so that no process has to hold all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Rows: TypeAlias = "npt.NDArray[np.int64] | Tensor"
Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Examples(Protocol):
    """Inputs and targets by row number.

    `tests/data/source_contract.py` holds every implementation to this.
    """

    @property
    def targets(self) -> Labels:
        """The class of every example, (N,)."""

    def __len__(self) -> int:
        """Number of examples."""

    def batch(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Inputs (B, C, H, W) uint8 and targets (B,) int64 of these rows, in their order.

        Both are the caller's own: writing to them changes no example.
        """


class MappedExamples:
    """Examples in arrays that are mapped from disk: one copy in memory for all processes."""

    def __init__(self, images: Images, targets: Labels) -> None:
        self.images = np.asarray(images)  # (N, C, H, W); indexing a memmap itself costs more
        self.targets = np.asarray(targets)  # (N,)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """See `Examples.batch`."""
        import torch

        # Copied out before torch takes them: it warns of memory that cannot be written.
        picked = np.asarray(rows)
        images, targets = self.images[picked], self.targets[picked]  # (B, C, H, W), (B,)
        return torch.from_numpy(images), torch.from_numpy(targets)


def all_inputs(examples: Examples) -> Images:
    """Every input as one read-only array (N, C, H, W): the map itself where there is one."""
    if isinstance(examples, MappedExamples):
        return examples.images
    images, _ = examples.batch(np.arange(len(examples)))
    found: Images = images.numpy()
    found.flags.writeable = False
    return found
