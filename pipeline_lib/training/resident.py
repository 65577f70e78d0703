"""Examples where a training computes: mapped for the CPU, moved once to an accelerator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.data.examples import Examples, Labels, Rows

_MOVED_AT_ONCE = 1000  # rows


def resident(examples: Examples, kind: str) -> Examples:
    """The examples themselves on the CPU; a copy in the memory of any other kind of device."""
    return examples if kind == "cpu" else _Moved(examples, kind)


class _Moved:
    """Examples in a device's memory, which their batches never leave."""

    def __init__(self, examples: Examples, kind: str) -> None:
        self.targets: Labels = examples.targets
        moved = [
            tuple(part.to(kind) for part in examples.batch(rows.numpy()))
            for rows in torch.arange(len(examples)).split(_MOVED_AT_ONCE)
        ]
        self._inputs, self._labels = (torch.cat(parts) for parts in zip(*moved, strict=True))

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """See `Examples.batch`; both are on the device."""
        picked = rows if isinstance(rows, Tensor) else torch.from_numpy(np.asarray(rows))
        picked = picked.to(self._labels.device)
        return self._inputs.index_select(0, picked), self._labels.index_select(0, picked)
