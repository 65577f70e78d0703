"""The chapter's loop, as it stands in the book: data set, loader, network, training, test.

"PyTorch and AutoML", Mastering PyTorch, ch. 12. Only here is anything chosen by the test set; it is
torchvision's own copy, since the project's is sealed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler, Subset

from pipeline_lib.models.book import BookNet, design
from pipeline_lib.training.optimizers import make_optimizer
from pipeline_lib.trial import Configuration

BATCH = 32
TEST_BATCH = 500

Images = Any
"""A torch data set of images and labels; torchvision says no more of it."""


def chapter_images(data: Path, *, train: bool) -> Images:
    """torchvision's MNIST through PIL, ToTensor and Normalize, image by image."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    steps = [transforms.ToTensor(), transforms.Normalize((0.1302,), (0.3069,))]
    return MNIST(str(data), train=train, transform=transforms.Compose(steps))


def first(images: Images, count: int) -> Images:
    """The first so many of them."""
    return Subset(images, range(min(count, len(images))))


class ChapterTraining:
    """A network of the chapter's, in its loop: no channels_last, constant learning rate."""

    def __init__(self, configuration: Configuration, train: Images, test: Images, seed: int):
        torch.manual_seed(seed)
        # The layers alone: the loader has normalised.
        self.network: nn.Module = BookNet(design(configuration, (1, 28, 28), 10)).layers
        self.optimizer = make_optimizer(self.network, configuration)
        self.train, self.test = train, test

    def fit(self, samples: int) -> float:
        """One epoch of so many samples; the seconds it took."""
        began = time.perf_counter()
        sampler = RandomSampler(self.train, num_samples=samples)
        self.network.train()
        for images, labels in DataLoader(self.train, BATCH, sampler=sampler):
            self.optimizer.zero_grad()
            F.nll_loss(self.network(images), labels).backward()
            self.optimizer.step()
        return time.perf_counter() - began

    def accuracy(self) -> tuple[float, float]:
        """Accuracy on `test`, and the seconds it took."""
        began = time.perf_counter()
        self.network.eval()
        hits = 0
        with torch.no_grad():
            for images, labels in DataLoader(self.test, TEST_BATCH, shuffle=True):
                hits += int((self.network(images).argmax(1) == labels).sum())
        return hits / len(self.test), time.perf_counter() - began


def fit_once(
    configuration: Configuration,
    data: Path,
    parts: Sequence[Sequence[int]],
    samples: int,
    seed: int,
) -> dict[str, float]:
    """Train in this process on one core: on some training images, measured on others of them."""
    torch.set_num_threads(1)
    images = chapter_images(data, train=True)
    training = ChapterTraining(configuration, *(Subset(images, p) for p in parts), seed)
    seconds = training.fit(samples)
    accuracy, measuring = training.accuracy()
    return {"seconds": seconds + measuring, "accuracy": accuracy}
