"""The classification data sets of torchvision: what each calls its parts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_Arguments = Mapping[str, Any]


def _split(**names: str) -> Mapping[str, _Arguments]:
    return {part: {"split": name} for part, name in names.items()}


_TRAIN: Mapping[str, _Arguments] = {"train": {"train": True}, "test": {"train": False}}
_WHOLE: Mapping[str, _Arguments] = {"": {}}
_TWO = _split(train="train", test="test")
_THREE = _split(train="train", validation="val", test="test")

TORCHVISION: Mapping[str, Mapping[str, _Arguments]] = MappingProxyType(
    {
        "CIFAR10": _TRAIN,
        "CIFAR100": _TRAIN,
        "Caltech101": _WHOLE,
        "Caltech256": _WHOLE,
        "Country211": _split(train="train", validation="valid", test="test"),
        "DTD": _THREE,
        "EuroSAT": _WHOLE,
        "FER2013": _TWO,
        "FGVCAircraft": _THREE,
        "FashionMNIST": _TRAIN,
        "Flowers102": _THREE,
        "Food101": _TWO,
        "GTSRB": _TWO,
        "ImageNet": _split(train="train", test="val"),
        "Imagenette": _split(train="train", test="val"),
        "KMNIST": _TRAIN,
        "MNIST": _TRAIN,
        "OxfordIIITPet": _split(train="trainval", test="test"),
        "PCAM": _THREE,
        "QMNIST": _TRAIN,
        "RenderedSST2": _THREE,
        "SEMEION": _WHOLE,
        "STL10": _TWO,
        "SUN397": _WHOLE,
        "SVHN": _TWO,
        "StanfordCars": _TWO,
        "USPS": _TRAIN,
    }
)
"""Arguments for each part, by the name of torchvision's class."""
