"""Classifying picture files with a registered model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.data.decode import decode, look, unlike
from pipeline_lib.home import Home


@dataclass(frozen=True)
class Answer:
    """What the model says of one picture."""

    path: Path
    label: str
    probability: float  # in [0, 1], calibrated
    remarks: tuple[str, ...]  # what was done to the picture, and how it is unlike the training data


def classify(home: Home, model: str, paths: Sequence[Path]) -> list[Answer]:
    """Classify picture files; `model` is a `models:/…` address or a problem's name.

    Every file is looked at before the model is loaded, so that a bad one costs nothing.

    Raises:
        ImageError: A file is no picture, or one that the model cannot take.
        ModelError: There is no such model.
    """
    for path in paths:
        look(path)
    from pipeline_lib.registry.versions import load_champion, model_name

    address = f"models:/{model_name(model)}@champion" if ":" not in model else model
    classifier = load_champion(home, address)
    import torch  # after what may refuse: it takes seconds

    pictures = [decode(path, classifier.shape) for path in paths]
    images = torch.stack([torch.from_numpy(each.pixels) for each in pictures])  # (B, C, H, W)
    probabilities = classifier.served.probabilities(classifier.module, images)  # (B, classes)
    best, typical = probabilities.max(1), classifier.served.brightness
    return [
        Answer(
            path,
            classifier.classes[int(label)],
            float(chance),
            (*picture.changes, *(unlike(picture.pixels, typical) if typical else ())),
        )
        for path, picture, chance, label in zip(
            paths, pictures, best.values, best.indices, strict=True
        )
    ]
