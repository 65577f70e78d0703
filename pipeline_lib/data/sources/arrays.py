"""Arrays in an .npz file: X and y, or one pair for each part."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.listing import Listing, Part, joined
from pipeline_lib.data.pictures import Arrays
from pipeline_lib.data.sources.pictured import Pictured
from pipeline_lib.data.sources.spool import as_label, scaled
from pipeline_lib.errors import DataError

if TYPE_CHECKING:
    from pipeline_lib.config import RunConfig

_PAIRS: dict[Part, tuple[tuple[str, str], ...]] = {
    "": (("x", "y"), ("images", "labels")),
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("x_validation", "y_validation"),
                   ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}  # fmt: skip
_CHANNELS = (1, 3, 4)
_REMEDY = "give X (N, H, W), (N, H, W, C) or (N, C, H, W) and y (N,)"


class NpzFile(Pictured):
    """X and y, in whatever case, or `x_train`, `y_train`, `x_test`, …; see `docs/data.md`."""

    kind: ClassVar[str] = "arrays"

    @classmethod
    def listing(cls, config: RunConfig, address: str) -> Listing:
        """See `Pictured.listing`."""
        path = Path(address)
        arrays = _read(path)
        names = tuple(map(str, arrays.get("classes", np.array([])).tolist()))
        found = [
            _listing(path, part, arrays[x], arrays[y], names)
            for part, pairs in _PAIRS.items()
            for x, y in pairs
            if x in arrays and y in arrays
        ]
        if not found:
            listed = ", ".join(arrays) or "nothing"
            remedy = "name arrays X and y, or x_train, y_train, x_test, y_test"
            raise DataError(str(path), "has no X with its y", value=listed, remedy=remedy)
        return joined(found)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name.lower(): archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = " ".join(str(error).split())
        remedy = "write it with np.savez, without objects"
        raise DataError(str(path), f"is no .npz of arrays ({reason})", remedy=remedy) from error


def _listing(
    path: Path, part: Part, images: npt.NDArray[Any], labels: npt.NDArray[Any], names: Any
) -> Listing:
    if labels.ndim != 1 or len(images) != len(labels):
        shown = f"X {images.shape}, y {labels.shape}"
        raise DataError(str(path), "must have one class a picture", value=shown, remedy=_REMEDY)
    where = f"{path}[{part or 'X'}]"
    last = _channels_last(images, where)
    pixels = scaled(last, where)
    known = {value: as_label(value, names, where) for value in np.unique(labels).tolist()}
    return Listing(
        where=str(path),
        pictures=Arrays(list(pixels)),
        labels=[known[value] for value in labels.tolist()],
        parts=[part] * len(labels),
        classes=tuple(name for name in names if name in set(known.values())),
    )


def _channels_last(images: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    shape = images.shape
    if len(shape) == 3 or (len(shape) == 4 and shape[3] in _CHANNELS):
        return images
    if len(shape) == 4 and shape[1] in _CHANNELS:
        return images.transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    raise DataError(where, "holds no pictures", value=shape, remedy=_REMEDY)
