"""The first images of real MNIST, as a data set of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline_lib.data.sources.catalogue import CATALOGUE, Dataset, idx_files
from pipeline_lib.data.sources.catalogued import Catalogued
from pipeline_lib.data.sources.idx import idx_header
from pipeline_lib.data.splits import Split
from pipeline_lib.data.store import labelled, write
from pipeline_lib.home import Home

TRAIN, TEST = 1200, 400


def small_dataset() -> Dataset:
    """Its entry of the catalogue."""
    files = idx_files("Small/raw", TRAIN, TEST)
    return replace(CATALOGUE["mnist"], train_size=TRAIN, test_size=TEST, files=files)


def prepare_small(mnist: Catalogued, home: Home) -> Catalogued:
    """Cut it out of all of MNIST and prepare it in `home`, where a run finds it ready."""
    dataset = small_dataset()
    train, test = labelled(mnist.directory / "search", "train"), mnist.test_set.unseal()
    arrays = (*train, test.images, test.targets)
    for file, array in zip(dataset.files, arrays, strict=True):
        cut = array[: file.shape[0]].astype("uint8")
        path = home.data / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(idx_header(file.shape) + cut.tobytes())
    return Catalogued.of(dataset, home)


def first_of(split: Split, count: int, directory: Path) -> Split:
    """The split of the first so many examples, which have no test set."""
    examples = split.examples
    write(directory / "search", "train", (examples.images[:count], examples.targets[:count]))
    problem = replace(split.problem, train_size=count)
    return replace(split, source=Catalogued(problem, directory))
