"""Pictures that a program gives, kept as they are: the bytes of each, its size and its label.

What `find_model(…, data=…)` was given, and what the child that runs a user's file hands over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from pipeline_lib.addresses import SPOOL
from pipeline_lib.data.listing import Listing, Part
from pipeline_lib.data.pictures import Arrays
from pipeline_lib.data.store import mapped
from pipeline_lib.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_PIXELS, _INDEX = "pixels.raw", "index.npy"
_CHANNELS = (1, 3, 4)
_PAIR = 2
_KINDS = "a pair of images and labels, a data set of such pairs, or a mapping of parts to either"


def write(directory: Path, given: Any, where: str) -> str:
    """Keep what a program gave in a new directory; returns a SHA-256 of it.

    Args:
        directory: Does not exist yet.
        given: A pair (images, labels), a map-style data set whose items are (image, label), or a
            mapping of `train`, `validation` and `test` to such.
        where: What errors call it.

    Raises:
        DataError: It is something else, or an image or label of it is.
    """
    parts = dict(given) if isinstance(given, Mapping) else {"": given}
    unknown = [part for part in parts if part not in get_args(Part)]
    if unknown or not parts:
        remedy = "name parts train, validation and test"
        raise DataError(where, "has a part of another name", value=unknown, remedy=remedy)
    directory.mkdir(parents=True)
    index, labels, of_parts, at, digest = [], list[str](), list[str](), 0, hashlib.sha256()
    names = next(filter(None, map(_class_names, parts.values())), ())
    with (directory / _PIXELS).open("wb") as pixels:
        for part, whole in parts.items():
            for number, (image, label) in enumerate(_items(whole, where)):
                array = as_bytes(image, f"{where}[{number}]")
                content = np.ascontiguousarray(array).data
                pixels.write(content)
                digest.update(content)
                index.append((at, *array.shape, *[0] * (3 - array.ndim)))
                at += array.size
                labels.append(as_label(label, names, f"{where}[{number}]"))
                of_parts.append(part)
    np.save(directory / _INDEX, np.array(index, np.int64).reshape(-1, 4))
    kept = {"labels": labels, "parts": of_parts, "classes": names}
    text = json.dumps(kept)
    (directory / SPOOL).write_text(text, encoding="utf-8")
    digest.update((text + json.dumps([shape for _, *shape in index])).encode())
    return digest.hexdigest()


def read(directory: Path, where: str) -> Listing:
    """What `write` kept."""
    kept = json.loads((directory / SPOOL).read_text(encoding="utf-8"))
    raw = directory / _PIXELS
    pixels = np.memmap(raw, np.uint8, "r") if raw.stat().st_size else np.zeros(0, np.uint8)
    images = [
        np.asarray(pixels[at : at + height * width * max(1, channels)]).reshape(
            (height, width, channels) if channels else (height, width)
        )
        for at, height, width, channels in mapped(directory / _INDEX).tolist()
    ]
    present = set(kept["labels"])
    classes = tuple(name for name in kept["classes"] if name in present)
    return Listing(where, Arrays(images), kept["labels"], kept["parts"], classes=classes)


def as_label(label: Any, names: tuple[str, ...], where: str) -> str:
    """The name of a class.

    Raises:
        DataError: It is no class: several of them, or a number to predict.
    """
    array = np.asarray(label) if hasattr(label, "item") else None  # a number of numpy, or a tensor
    value = array.item() if array is not None and array.size == 1 else label
    if isinstance(value, bool | np.bool_):
        value = int(value)
    if isinstance(value, int | np.integer):
        return names[value] if 0 <= value < len(names) else str(value)
    if isinstance(value, str):
        return value
    number = isinstance(value, float)
    problem = "has a number to predict" if number else "has several labels, or none"
    remedy = "this is not yet done: give one class for each picture"
    raise DataError(where, problem, value=value, remedy=remedy)


def as_bytes(image: Any, where: str) -> npt.NDArray[np.uint8]:
    """An image of whatever kind as (H, W) or (H, W, C) uint8.

    Pictures of Pillow, tensors (C, H, W), arrays (H, W), (H, W, C) or (C, H, W); of floats in
    [0, 1], or of whole numbers from 0 to 255.

    Raises:
        DataError: It is none of these.
    """
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        return _of_pillow(image)
    array = np.asarray(image)
    is_tensor = hasattr(image, "detach")
    if array.ndim == 3 and (
        array.shape[0] in _CHANNELS and (is_tensor or array.shape[-1] not in _CHANNELS)
    ):
        array = array.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        shown, remedy = f"{array.dtype} {array.shape}", "give (H, W), (H, W, C) or (C, H, W)"
        raise DataError(where, "is no picture of 1, 3 or 4 channels", value=shown, remedy=remedy)
    return scaled(array, where)


def scaled(array: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """Pixels as bytes: uint8 as they are, 16 bits and floats in [0, 1] scaled.

    Raises:
        DataError: They are neither, nor whole numbers from 0 to 255.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        narrow: npt.NDArray[np.uint8] = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return narrow
    if array.dtype.kind in "fiu" and array.size:
        low, high = float(array.min()), float(array.max())
        if array.dtype.kind == "f" and low >= 0 and high <= 1:
            shown_in_bytes: npt.NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
            return shown_in_bytes
        if low >= 0 and high <= 255 and (array == np.rint(array)).all():
            return array.astype(np.uint8)
        shown = f"{array.dtype} from {low:g} to {high:g}"
    else:
        shown = str(array.dtype)
    remedy = "give bytes, or floats from 0 to 1, before any normalisation"
    raise DataError(where, "has unusual pixels", value=shown, remedy=remedy)


def _of_pillow(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return scaled(np.asarray(image).astype(np.uint16), "picture")
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _items(whole: Any, where: str) -> Iterator[tuple[Any, Any]]:
    """Images and labels of a pair of sequences, or of a data set."""
    if isinstance(whole, tuple) and len(whole) == _PAIR:
        images, labels = whole
        if len(images) != len(labels):
            problem = f"has {len(images)} images and {len(labels)} labels"
            raise DataError(where, problem, remedy="give one label for each image")
        yield from zip(images, labels, strict=True)
        return
    if not (hasattr(whole, "__getitem__") and hasattr(whole, "__len__")):
        problem, value = "is no data", type(whole).__name__
        raise DataError(where, problem, value=value, remedy=f"give {_KINDS}")
    for number in count():
        if number >= len(whole):
            return
        item = whole[number]
        if not isinstance(item, tuple | list) or len(item) != _PAIR:
            shown = type(item).__name__
            remedy = "let every item be (image, label)"
            raise DataError(f"{where}[{number}]", "is no pair", value=shown, remedy=remedy)
        yield item[0], item[1]


def _class_names(whole: Any) -> tuple[str, ...]:
    names = getattr(whole, "classes", ())
    if not isinstance(names, list | tuple):
        return ()
    return tuple(map(str, names))
