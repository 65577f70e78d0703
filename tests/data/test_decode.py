"""Picture files as a network sees them: nothing is lost or invented without a word."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline_lib.data.decode import FORMATS, Look, brightness, decode, look, unlike
from pipeline_lib.data.examples import MappedExamples
from pipeline_lib.errors import ImageError, RefusedImage

GREY, COLOUR = (1, 8, 8), (3, 8, 8)
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4  # no two pixels alike


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def shape_drawn(ink: int, ground: int = 0) -> np.ndarray:
    """A bar in the upper left quarter (8, 8)."""
    drawn = np.full((8, 8), ground, np.uint8)
    drawn[1:3, 1:6] = ink
    return drawn


def raw_png(bits: int, colour: int, rows: bytes) -> bytes:
    """An 8×8 PNG of a kind that Pillow reads and does not write; `rows` have their filter bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 8, 8, bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_picture_of_the_right_shape_is_taken_as_it_is(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "x", Image.fromarray(RAMP), format=kind, lossless=True)
    found = decode(path, GREY)
    assert (found.pixels.shape, found.pixels.dtype) == (GREY, np.uint8)
    assert np.array_equal(found.pixels[0], RAMP)
    assert found.changes == ()


def test_a_jpeg_is_taken_but_for_its_losses(tmp_path: Path) -> None:
    found = decode(saved(tmp_path / "x.jpg", Image.fromarray(RAMP), quality=100), GREY)
    assert np.abs(found.pixels[0].astype(int) - RAMP).max() <= 4
    assert found.changes == ()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_say_what_eight_do(kind: str, tmp_path: Path) -> None:
    wide = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert wide.mode == "I;16"
    found = decode(saved(tmp_path / "x", wide, format=kind), GREY)
    assert np.array_equal(found.pixels[0], RAMP)
    assert len(found.changes) == 1


def test_sixteen_bits_a_colour_say_what_eight_do(tmp_path: Path) -> None:
    colours = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)  # (8, 8, 3)
    wide = (colours.astype(">u2") * 257).astype(">u2")
    path = tmp_path / "x.png"
    path.write_bytes(raw_png(16, 2, b"".join(b"\0" + row.tobytes() for row in wide)))
    assert np.array_equal(decode(path, COLOUR).pixels, colours.transpose(2, 0, 1))


def test_one_level_of_sixteen_bits_may_be_transparent(tmp_path: Path) -> None:
    wide = Image.fromarray(shape_drawn(ink=255, ground=200).astype(np.uint16) * 257)
    path = saved(tmp_path / "x.png", wide, transparency=200 * 257)
    assert np.array_equal(decode(path, GREY).pixels[0], shape_drawn(ink=255, ground=0))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
@pytest.mark.parametrize(("ink", "ground"), [(255, 0), (0, 255), (200, 255), (60, 255)])
def test_what_is_drawn_on_nothing_stays_visible(
    mode: str, ink: int, ground: int, tmp_path: Path
) -> None:
    """Whatever colour the transparent pixels have in the file, which nobody sees."""
    alpha = Image.fromarray(shape_drawn(255))
    for hidden in (0, 90, 255):
        drawn = Image.fromarray(shape_drawn(ink, hidden))
        if mode == "P":
            drawn = Image.fromarray(shape_drawn(1)).convert("P")
            drawn.putpalette([hidden] * 3 + [ink] * 3)
            path = saved(tmp_path / "x.png", drawn, transparency=0)
        else:
            drawn.putalpha(alpha)
            path = saved(tmp_path / "x.png", drawn.convert(mode))
        found = decode(path, GREY)
        assert np.array_equal(found.pixels[0], shape_drawn(ink, ground))
        assert len(found.changes) == 1


def test_an_alpha_that_hides_nothing_changes_nothing(tmp_path: Path) -> None:
    opaque = Image.fromarray(RAMP)
    opaque.putalpha(255)
    found = decode(saved(tmp_path / "x.png", opaque), GREY)
    assert np.array_equal(found.pixels[0], RAMP)
    assert found.changes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_camera_is_obeyed(orientation: int, tmp_path: Path) -> None:
    turns = {1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.T,
             6: np.rot90(RAMP, 1), 7: RAMP[::-1, ::-1].T, 8: np.rot90(RAMP, -1)}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    found = decode(saved(tmp_path / "x.png", stored, exif=exif), GREY)
    assert np.array_equal(found.pixels[0], RAMP)
    assert len(found.changes) == (orientation != 1)


def test_one_bit_a_pixel_is_black_and_white(tmp_path: Path) -> None:
    found = decode(saved(tmp_path / "x.png", Image.fromarray(shape_drawn(255)).convert("1")), GREY)
    assert np.array_equal(found.pixels[0], shape_drawn(255))


@pytest.mark.parametrize(("bits", "row"), [(2, b"\0\x1b\x1b"), (4, b"\0\x05\xaf\x05\xaf")])
def test_few_bits_a_pixel_reach_from_black_to_white(bits: int, row: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(raw_png(bits, 0, row * 8))
    assert decode(path, GREY).pixels[0, 0, :4].tolist() == [0, 85, 170, 255]


def test_cmyk_becomes_the_colours_that_it_prints(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    found = decode(saved(tmp_path / "x.jpg", red, quality=100), COLOUR)
    assert np.abs(found.pixels.astype(int).mean(axis=(1, 2)) - [250, 10, 10]).max() < 12
    assert len(found.changes) == 1


def test_colours_that_are_lost_or_missing_are_said(tmp_path: Path) -> None:
    red = saved(tmp_path / "red.png", Image.new("RGB", (8, 8), (200, 0, 0)))
    grey = saved(tmp_path / "grey.png", Image.fromarray(RAMP).convert("RGB"))
    assert decode(red, COLOUR).changes == decode(grey, GREY).changes == ()
    assert len(decode(red, GREY).changes) == len(decode(grey, COLOUR).changes) == 1


def test_another_size_is_scaled(tmp_path: Path) -> None:
    large = Image.fromarray(RAMP).resize((80, 80), Image.Resampling.NEAREST)
    found = decode(saved(tmp_path / "x.png", large), GREY)
    assert np.abs(found.pixels[0].astype(int) - RAMP).max() <= 8
    assert len(found.changes) == 1


def test_another_aspect_ratio_is_padded_in_the_colour_of_the_edge(tmp_path: Path) -> None:
    """The square in the middle stays one."""
    wide = np.full((20, 40), 30, np.uint8)
    wide[5:15, 15:25] = 220
    found = decode(saved(tmp_path / "x.png", Image.fromarray(wide)), (1, 40, 40))
    assert found.pixels[0, 0, 0] == found.pixels[0, -1, -1] == 30
    bright = found.pixels[0] > 125
    assert bright.any(0).sum() == bright.any(1).sum() == 10
    assert len(found.changes) == 1


def test_pictures_that_would_have_to_be_guessed_are_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP)
    clear = grey.copy()
    clear.putalpha(0)
    pages = saved(tmp_path / "x.tif", grey, save_all=True, append_images=[Image.new("L", (8, 8))])
    refused = [
        saved(tmp_path / "float.tif", Image.fromarray(RAMP.astype(np.float32))),
        saved(tmp_path / "wide.tif", Image.fromarray(RAMP.astype(np.int32))),
        saved(tmp_path / "clear.png", clear),
        pages,
    ]
    for path in refused:
        with pytest.raises(ImageError) as caught:
            decode(path, GREY)
        assert caught.value.where == str(path)
    with pytest.raises(ImageError):
        decode(saved(tmp_path / "x.png", grey), (4, 8, 8))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(kind: str, tmp_path: Path) -> None:
    frames = {"save_all": True, "append_images": [Image.new("L", (8, 8))], "lossless": True}
    found = decode(saved(tmp_path / "x", Image.fromarray(RAMP), format=kind, **frames), GREY)
    assert np.array_equal(found.pixels[0], RAMP)
    assert len(found.changes) == 1


def test_a_look_knows_the_size_upright_and_whether_there_are_colours(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.zeros((8, 20), np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        grey = kind != "WEBP"  # which knows no grey
        assert look(saved(tmp_path / "x", wide, format=kind, exif=exif)) == Look(20, 8, grey)
        assert look(saved(tmp_path / "x", wide, format=kind)) == Look(8, 20, grey)
    assert look(saved(tmp_path / "x", wide.convert("RGB"), format="PNG")) == Look(8, 20, False)
    sixteen = Image.fromarray(np.zeros((8, 20), np.uint16))
    assert look(saved(tmp_path / "x", sixteen, format="PNG")) == Look(8, 20, True)


def test_what_is_no_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    pixel = saved(tmp_path / "pixel.png", Image.new("L", (1, 1)))
    bomb = saved(tmp_path / "bomb.png", Image.new("1", (8001, 8001)))
    for path in (pixel, bomb):
        with pytest.raises(RefusedImage):
            look(path)
        with pytest.raises(RefusedImage):
            decode(path, GREY)


def test_warnings_are_as_before_when_threads_have_decoded(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(RAMP))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: decode(path, GREY), range(200)))
    assert warnings.filters == before


def whole_files() -> list[bytes]:
    files = []
    for kind in FORMATS:
        file = io.BytesIO()
        Image.fromarray(RAMP).convert("RGB").save(file, kind)
        files.append(file.getvalue())
    return files


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=st.sampled_from(whole_files()), data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(
    whole: bytes, data: st.DataObject, tmp_path: Path
) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x"
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert decode(path, COLOUR).pixels.shape == COLOUR
        except ImageError as error:
            assert "\n" not in str(error)


def typical_of(images: np.ndarray) -> tuple[float, float]:
    rows = np.arange(len(images))
    return brightness(MappedExamples(images, rows), rows)


def test_a_picture_unlike_the_training_data_is_told() -> None:
    draw = np.random.default_rng(0)
    dark = (draw.random((500, 1, 8, 8)) < draw.uniform(0.05, 0.4, (500, 1, 1, 1))) * np.uint8(255)
    low, high = typical = typical_of(dark)
    means = dark.mean(axis=(1, 2, 3)) / 255
    assert means.min() <= low < high <= means.max()
    assert sum(bool(unlike(image, typical)) for image in dark) <= 2
    (inverted,) = unlike(255 - dark[0], typical)
    (bright,) = unlike(np.full((1, 8, 8), 255, np.uint8), typical)
    (black,) = unlike(np.zeros((1, 8, 8), np.uint8), typical)
    assert len({inverted, bright, black}) == 3
    photographs = draw.integers(0, 256, (500, 3, 8, 8), dtype=np.uint8)
    assert unlike(255 - photographs[0], typical_of(photographs)) == ()
