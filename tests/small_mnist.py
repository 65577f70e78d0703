"""The first images of real MNIST, as a data set of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline_lib.data.sources.catalogue import CATALOGUE, Dataset, idx_files
from pipeline_lib.data.sources.idx import idx_header
from pipeline_lib.data.store import PreparedData, prepare_dataset
from pipeline_lib.home import Home

TRAIN, TEST = 1200, 400


def small_dataset() -> Dataset:
    """Its entry of the catalogue."""
    files = idx_files("Small/raw", TRAIN, TEST)
    return replace(CATALOGUE["mnist"], train_size=TRAIN, test_size=TEST, files=files)


def prepare_small(mnist: PreparedData, home: Home) -> PreparedData:
    """Cut it out of all of MNIST and prepare it in `home`, where a run finds it ready."""
    dataset = small_dataset()
    arrays = (
        "search/train_images",
        "search/train_labels",
        "sealed/test_images",
        "sealed/test_labels",
    )
    for file, name in zip(dataset.files, arrays, strict=True):
        array = np.load(mnist.directory / f"{name}.npy", mmap_mode="r")
        cut = array[: file.shape[0]].astype(np.uint8)
        path = home.data / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(idx_header(file.shape) + cut.tobytes())
    return prepare_dataset(dataset, home)
