"""Reading CIFAR-10 from its own files, once they are known to be good."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline_lib.data.sources.catalogue import Dataset
from pipeline_lib.data.store import Labelled


def read(dataset: Dataset, root: Path) -> tuple[Labelled, Labelled]:
    """The part for training and the part for the test, from files that passed `check_files`."""
    # The files are pickles: read by torchvision, and only after their MD5 was checked.
    from torchvision.datasets import CIFAR10

    train, test = (
        (
            np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)),  # (N, H, W, C) -> (N, C, H, W)
            np.array(part.targets, dtype=np.int64),
        )
        for part in (CIFAR10(root, train=True), CIFAR10(root, train=False))
    )
    return train, test
