"""From a picture file to the pixels that a network takes, without silent losses."""

from __future__ import annotations

import logging
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_lib.errors import ImageError, RefusedImage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from pipeline_lib.data.examples import Examples

    Pixels = npt.NDArray[np.uint8]

Shape = tuple[int, int, int]
"""(C, H, W)."""
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")

_MAX_PIXELS = 64_000_000  # a larger picture is no picture of one object, or a bomb
_TOO_LARGE = f"may have {_MAX_PIXELS:,} pixels at most"
_LEAST_SIDE = 2  # pixels; fewer show nothing
_GREY = ("1", "L", "LA", "La")
_ANIMATED = {"GIF", "PNG", "WEBP", "MPO"}  # of several frames the first is the picture
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # 8 bits a channel, or fewer
_NEARLY_WHITE = 240  # of 255
_COLOURED = 8  # of 255: channels that differ by more are no grey that a codec rounded
_SAME_ASPECT = 0.02
_SAMPLE, _BATCH = 10_000, 500  # images are enough for what is typical; so many at a time
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_WITH_EXIF = {"JPEG", "MPO", "WEBP"}
_SIDEWAYS = 5  # from here on, width and height change places


@dataclass(frozen=True)
class Picture:
    """A picture in the shape that a network takes, and what had to be done to get there."""

    pixels: Pixels  # (C, H, W)
    changes: tuple[str, ...]  # each reads on from "the picture …"


@dataclass(frozen=True)
class Look:
    """What the header of a picture says of it, turned upright."""

    height: int  # pixels
    width: int  # pixels
    grey: bool


def look(path: Path) -> Look:
    """Read no more of a picture than its header.

    Raises:
        RefusedImage: It is too large, or smaller than a picture.
        ImageError: It cannot be read, or is of no known format.
    """
    with _opened(path) as picture:
        # Pillow has turned the size of a TIFF already; for a PNG without EXIF it would read it all.
        in_header = picture.format in _WITH_EXIF or "exif" in picture.info
        turned = in_header and picture.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS
        width, height = picture.size[::-1] if turned else picture.size
        return Look(height, width, picture.mode in _GREY or picture.mode.startswith("I;16"))


def decode(path: Path, shape: Shape) -> Picture:
    """A picture file in the shape (C, H, W), its content kept: turned, composed and scaled.

    Args:
        path: A file of one of `FORMATS`; of an animation the first frame is read.
        shape: One or three channels, height and width.

    Raises:
        ImageError: It is damaged, or cannot be brought to this shape without guessing.
    """
    with _opened(path) as picture:
        upright, turned = _turned(picture)
    first = ["is an animation: its first frame was read"] if _frames(picture) > 1 else []
    found = decode_image(str(path), upright, shape)
    return Picture(found.pixels, (*first, *turned, *found.changes))


def decode_image(where: str, picture: Image.Image, shape: Shape) -> Picture:
    """A picture in memory in the shape (C, H, W), as `decode` does it.

    Raises:
        ImageError: It cannot be brought to this shape without guessing; says where.
    """
    import numpy as np

    channels, height, width = shape
    if channels not in (1, 3):
        raise ImageError(where, "cannot be taken: the model takes neither grey nor colour")
    eight_bit, scaled = _to_eight_bits(where, picture)
    opaque, composed = _composed(where, eight_bit)
    channelled, recoloured = _to_channels(opaque, channels)
    fitted, resized = _fitted(channelled, (width, height))
    pixels = np.array(fitted, dtype=np.uint8).reshape(height, width, channels)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (C, H, W)
    return Picture(planes, (*scaled, *composed, *recoloured, *resized))


def brightness(examples: Examples, rows: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Between which mean brightnesses, in [0, 1], nearly all of these rows lie."""
    import numpy as np

    some = rows[:: max(1, len(rows) // _SAMPLE)]
    batches = (some[at : at + _BATCH] for at in range(0, len(some), _BATCH))
    images = (examples.batch(each)[0].numpy() for each in batches)  # (B, C, H, W)
    means = [each.mean(axis=(1, 2, 3), dtype=np.float64) / 255 for each in images]  # (B,)
    low, high = np.quantile(np.concatenate(means), (0.001, 0.999))
    return float(low), float(high)


def unlike(pixels: Pixels, typical: tuple[float, float]) -> tuple[str, ...]:
    """How the brightness of a picture (C, H, W) differs from that of the training data."""
    own, (low, high) = float(pixels.mean()) / 255, typical
    if low <= own <= high:
        return ()
    if low <= 1 - own <= high:
        return ("looks inverted: dark where the training data is light, and light where dark",)
    return (f"is {'darker' if own < low else 'brighter'} than the training data",)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose header is read; whatever Pillow says of a bad file becomes one line."""
    from PIL import Image, UnidentifiedImageError

    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it logs what it raises as well
    try:
        with _quiet, Image.open(path, formats=FORMATS) as picture:
            _check_header(path, picture)
            yield picture
    except UnidentifiedImageError as error:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ImageError(str(path), f"is no {known} file, or damaged") from error
    except Image.DecompressionBombError as error:
        problem = f"{_TOO_LARGE} ({error})"
        raise RefusedImage(str(path), problem, remedy="resize it first") from error
    except OSError as error:
        if error.strerror:
            raise ImageError(str(path), f"cannot be read ({error.strerror})") from error
        raise ImageError(str(path), f"is damaged ({error})") from error
    except (SyntaxError, ValueError, EOFError, TypeError, struct.error) as error:
        raise ImageError(str(path), f"is damaged ({error})") from error


class _Quiet:
    """Ignores Pillow's warnings, of large pictures and odd EXIF, while any thread reads one.

    `warnings.catch_warnings` alone is not safe among threads: one would restore the filters of
    another.
    """

    def __init__(self) -> None:
        self._lock, self._readers = threading.Lock(), 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._caught.__exit__(None, None, None)


_quiet = _Quiet()


def _frames(picture: Image.Image) -> int:
    return int(getattr(picture, "n_frames", 1))


def _check_header(path: Path, picture: Image.Image) -> None:
    size, remedy = f"{picture.width}×{picture.height}", "resize it first"
    if picture.width * picture.height > _MAX_PIXELS:
        raise RefusedImage(str(path), _TOO_LARGE, value=size, remedy=remedy)
    if min(picture.size) < _LEAST_SIDE:
        problem, remedy = f"must be {_LEAST_SIDE} pixels wide and high at least", "leave it out"
        raise RefusedImage(str(path), problem, value=size, remedy=remedy)
    if _frames(picture) > 1 and picture.format not in _ANIMATED:
        problem, remedy = "must be one picture", "save one of them"
        raise ImageError(str(path), problem, value=_frames(picture), remedy=remedy)


def _turned(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    from PIL import ImageOps

    picture.load()
    if picture.getexif().get(_ORIENTATION, 1) == 1:
        return picture, []
    return ImageOps.exif_transpose(picture), ["was turned as its EXIF orientation says"]


def _to_eight_bits(where: str, picture: Image.Image) -> tuple[Image.Image, list[str]]:
    import numpy as np
    from PIL import Image

    if picture.mode in _MODES:
        return picture, []
    if not picture.mode.startswith("I;16"):
        remedy = "convert it to 8-bit grey or RGB"
        raise ImageError(where, "has unusual pixels", value=picture.mode, remedy=remedy)
    wide = np.asarray(picture).astype(np.uint32)  # (H, W), 0…65535
    narrow = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):  # the one level that stands for nothing
        narrow.putalpha(Image.fromarray(np.where(wide == transparent, 0, 255).astype(np.uint8)))
    return narrow, ["was scaled from 16 bits to 8"]


def _composed(where: str, picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture without transparency: on white, or on black if it would vanish on white."""
    import numpy as np
    from PIL import Image

    if not picture.has_transparency_data:
        return picture, []
    layered = picture.convert("RGBA")
    alpha = np.asarray(layered.getchannel("A"), dtype=np.float64)
    if alpha.min() == 255:
        return layered.convert("RGB"), []
    if alpha.max() == 0:
        raise ImageError(where, "is wholly transparent")
    grey = np.asarray(layered.convert("RGB").convert("L"), dtype=np.float64)
    vanishes = np.average(grey, weights=alpha) >= _NEARLY_WHITE
    ground, name = (0, "black") if vanishes else (255, "white")
    under = Image.new("RGBA", layered.size, (ground, ground, ground, 255))
    composed = Image.alpha_composite(under, layered).convert("RGB")
    return composed, [f"was put on {name} where it is transparent"]


def _to_channels(picture: Image.Image, channels: int) -> tuple[Image.Image, list[str]]:
    import numpy as np

    if channels == 1 and picture.mode in ("1", "L"):
        return picture.convert("L"), []
    changes = ["lost its colour profile: it is CMYK"] if picture.mode == "CMYK" else []
    colours = picture.convert("RGB")
    coloured = bool((np.ptp(np.asarray(colours), axis=2) > _COLOURED).any())
    if channels == 1:
        changes += ["has colours, which became greys as in the training data"] if coloured else []
        return colours.convert("L"), changes
    return colours, changes + ([] if coloured else ["is grey: the training data has colours"])


def _fitted(picture: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, list[str]]:
    """The whole picture in this size; what its shape leaves free has the colour of its edge."""
    import numpy as np
    from PIL import Image, ImageOps

    if picture.size == size:
        return picture, []
    said = f"from {picture.width}×{picture.height} to {size[0]}×{size[1]}"
    stretch = (picture.width / picture.height) / (size[0] / size[1])
    if abs(stretch - 1) <= _SAME_ASPECT:
        return picture.resize(size, Image.Resampling.BILINEAR), [f"was scaled {said}"]
    pixels = np.asarray(picture)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    middle = np.median(edge, axis=0).astype(int)
    colour = tuple(map(int, middle)) if middle.ndim else int(middle)
    padded = ImageOps.pad(picture, size, Image.Resampling.BILINEAR, color=colour)
    return padded, [f"has another aspect ratio: was scaled and padded {said}"]
