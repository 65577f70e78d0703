"""In which shape pictures of many sizes are stored: a rule that follows from the data alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline_lib.data.decode import Look, Picture, Shape
from pipeline_lib.errors import ConfigurationError

_SIDES = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
_AS_THEY_ARE = 128  # pixels: pictures of one size are stored in it up to this side
_SAMPLE = 200  # pictures whose colours are looked at
_COLOURED = 8  # of 255: channels that differ by more are no grey that a codec rounded


def stored_shape(
    looks: Sequence[Look], read: Callable[[int, Shape], Picture], image_size: str | None
) -> Shape:
    """The shape (C, H, W) that all pictures are brought to.

    Pictures of one size, with sides of 128 pixels at most, keep it. Others become squares whose
    side is the largest of 8, 16, 24, 32, 48, 64, 96, 128, 160, 192 and 224 pixels that the median
    of their longer sides reaches. They are grey where every file is, or where none of 200 that are
    spread evenly over them shows a colour.

    Args:
        looks: What the headers say.
        read: Decodes a picture by row; asked for a few of them.
        image_size: A size that overrides the rule.
    """
    height, width = parsed_size(image_size) if image_size else _size(looks)
    if all(each.grey for each in looks):
        return 1, height, width
    some = np.unique(np.linspace(0, len(looks) - 1, _SAMPLE).astype(int)).tolist()
    coloured = any(_shows_colour(read(row, (3, height, width))) for row in some)
    return (3 if coloured else 1), height, width


def parsed_size(text: str, field: str = "image_size") -> tuple[int, int]:
    """Height and width of '96' or '64x96'.

    Raises:
        ConfigurationError: The text is no size, or one that no network takes.
    """
    sides = text.lower().replace("×", "x").split("x")
    remedy = "write pixels, as 96, or height by width, as 64x96; from 2 to 1024"
    if len(sides) > 2 or not all(side.isdecimal() and 2 <= int(side) <= 1024 for side in sides):
        raise ConfigurationError(field, "is no size", value=text, remedy=remedy)
    return int(sides[0]), int(sides[-1])


def _size(looks: Sequence[Look]) -> tuple[int, int]:
    first = looks[0].height, looks[0].width
    if max(first) <= _AS_THEY_ARE and all((each.height, each.width) == first for each in looks):
        return first
    typical = float(np.median([max(each.height, each.width) for each in looks]))
    side = max((side for side in _SIDES if side <= typical), default=_SIDES[0])
    return side, side


def _shows_colour(picture: Picture) -> bool:
    return bool((np.ptp(picture.pixels.astype(np.int16), axis=0) > _COLOURED).any())
