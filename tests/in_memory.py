"""Arrays as a source, for tests that choose every example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.data.splits import Split
from pipeline_lib.training.loop import batches, predict


@dataclass(frozen=True, eq=False)
class InMemory:
    """Images (N, C, H, W) and labels (N,), without a test set."""

    problem: Problem
    images: np.ndarray
    labels: np.ndarray

    lineage = ""

    def rows(self) -> None:
        return None

    def examples(self) -> MappedExamples:
        return MappedExamples(self.images, self.labels)


def in_memory(images: np.ndarray, labels: np.ndarray, classes: int = 10) -> InMemory:
    """A source of these examples."""
    names = Classes(tuple(map(str, range(classes))))
    sizes = (len(labels), 0)
    problem = Problem("noise", "noise", Image(*images.shape[1:]), names, *sizes, digest="0" * 64)
    return InMemory(problem, images, labels)


def with_images(split: Split, images: np.ndarray) -> Split:
    """The same split with other pictures in it."""
    labels, classes = split.examples.targets, len(split.problem.target)
    return Split(in_memory(images, labels, classes), split.seed, split.share, split.part)


def validation_logits(network: nn.Module, split: Split) -> Tensor:
    """Logits (N, classes) of a network on the validation part."""
    return predict(network, batches(split.examples, split.validation))
