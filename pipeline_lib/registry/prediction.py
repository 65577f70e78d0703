"""Classifying picture files with a registered model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_lib.data.catalogue import CATALOGUE
from pipeline_lib.errors import ImageError
from pipeline_lib.home import Home

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MAX_PIXELS = 64_000_000  # a larger picture is no picture of one object, or a bomb
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Answer:
    """What the model says of one picture."""

    path: Path
    label: str
    probability: float  # in [0, 1]


def classify(home: Home, model: str, paths: Sequence[Path]) -> list[Answer]:
    """Classify PNG files; `model` is a `models:/…` address or the name of a data set.

    Every file is read before the model is loaded, so that a bad one costs nothing.

    Raises:
        ImageError: A file is no PNG, or no picture of the shape the model takes.
        ModelError: There is no such model.
    """
    for path in paths:
        _check_png(path)
    import torch

    from pipeline_lib.registry.versions import load_champion, model_name

    address = f"models:/{model_name(model)}@champion" if model in CATALOGUE else model
    classifier = load_champion(home, address)
    images = [read_png(path, classifier.shape) for path in paths]
    with torch.inference_mode():
        logits = classifier.module(torch.stack([torch.from_numpy(image) for image in images]))
        chances = logits.softmax(1)  # (B, classes)
    best = chances.max(1)
    return [
        Answer(path, classifier.classes[int(label)], float(chance))
        for path, chance, label in zip(paths, best.values, best.indices, strict=True)
    ]


def read_png(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A PNG file as (C, H, W) uint8.

    Raises:
        ImageError: It is no PNG, is damaged, or has another size than the model takes.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    _check_png(path)
    channels, height, width = shape
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.size != (width, height):
                size = f"{picture.width}×{picture.height}"
                problem = f"must be {width}×{height} pixels, as the model was trained on"
                raise ImageError(str(path), problem, value=size, remedy="resize it first")
            converted = picture.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(str(path), f"is a damaged PNG ({error})") from error
    pixels = np.array(converted, dtype=np.uint8)  # (H, W) or (H, W, 3); torch warns of a view
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def _check_png(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise ImageError(str(path), f"cannot be read ({error.strerror})") from error
    if not head.startswith(_PNG):
        raise ImageError(str(path), "is no PNG file", remedy="convert it to PNG")
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if width * height > _MAX_PIXELS:
        problem = f"may have {_MAX_PIXELS:,} pixels at most"
        raise ImageError(str(path), problem, value=f"{width}×{height}", remedy="resize it first")
