import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.training import transforms as augmentation
from pipeline_lib.training.transforms import SHIFT, SLANT, STRETCH, affine, augment, shift

shapes = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(5, 12), st.integers(5, 12))
seeds = st.integers(0, 2**32 - 1)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def noise(shape, seed):
    """Pixels of 1…255, so that 0 is only what came from beyond the border."""
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator(seed))


def moved(image, down, right):
    """(C, H, W) moved by whole pixels, the plain way."""
    result = torch.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[:, row, column] = image[:, row - down, column - right]
    return result


@given(shapes, seeds)
def test_shift_moves_every_image_by_whole_pixels(shape, seed):
    images = noise(shape, seed)
    shifted = shift(images, generator(seed))
    assert shifted.dtype == torch.uint8
    assert shifted.shape == images.shape
    steps = range(-SHIFT, SHIFT + 1)
    for before, after in zip(images, shifted, strict=True):
        assert any(
            torch.equal(after, moved(before, down, right)) for down in steps for right in steps
        )


def test_shift_moves_as_far_as_it_says_in_every_direction_and_no_farther():
    images = torch.zeros(2000, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    at = shift(images, generator(0)).squeeze(1).nonzero()[:, 1:] - 4
    assert len(at) == 2000
    places = {tuple(place) for place in at.tolist()}
    steps = range(-SHIFT, SHIFT + 1)
    assert places == {(down, right) for down in steps for right in steps}


@given(shapes, seeds)
def test_affine_keeps_shape_and_range(shape, seed):
    images = noise(shape, seed).float()
    result = affine(images, generator(seed))
    assert result.dtype == torch.float32
    assert result.shape == images.shape
    assert result.min() >= 0
    assert result.max() <= images.max() + 1e-3


@given(shapes, seeds)
def test_affine_without_noise_is_the_identity(shape, seed):
    images = noise(shape, seed).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, "DEGREES", 0.0)
        patch.setattr(augmentation, "SCALE", 0.0)
        patch.setattr(augmentation, "SHIFT", 0)
        result = affine(images, generator(seed))
    torch.testing.assert_close(result, images, rtol=0, atol=1e-2)


def test_affine_moves_up_to_shift_pixels():
    images = torch.zeros(400, 1, 21, 21)
    images[:, :, 9:12, 9:12] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, "DEGREES", 0.0)
        patch.setattr(augmentation, "SCALE", 0.0)
        result = affine(images, generator(0)).squeeze(1)
    grid = torch.arange(21.0)
    mass = result.sum((1, 2))
    down = (result.sum(2) * grid).sum(1) / mass - 10
    right = (result.sum(1) * grid).sum(1) / mass - 10
    for offset in (down, right):
        assert 0.9 * SHIFT < offset.max() <= SHIFT + 1e-3
        assert -SHIFT - 1e-3 <= offset.min() < -0.9 * SHIFT


def test_affine_turns_up_to_ten_degrees():
    images = torch.zeros(400, 1, 41, 41)
    images[:, :, 19:22, 5:36] = 1.0  # a bar that lies level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, "SCALE", 0.0)
        patch.setattr(augmentation, "SHIFT", 0)
        result = affine(images, generator(0)).squeeze(1).numpy()
    rows, columns = np.mgrid[-20:21, -20:21]
    covariance = (result * rows * columns).sum((1, 2))
    spread = (result * (columns**2 - rows**2)).sum((1, 2))
    degrees = 0.5 * np.degrees(np.arctan2(2 * covariance, spread))
    assert 9 < degrees.max() < 10.2
    assert -10.2 < degrees.min() < -9


@pytest.mark.parametrize("size", [(41, 41), (41, 61)])
def test_sheared_slants_and_stretches_as_far_as_it_says(size):
    """A disc becomes an ellipse, of the same area; how it lies says how far it was slanted."""
    rows, columns = np.mgrid[: size[0], : size[1]] - (np.array(size) // 2)[:, None, None]
    disc = torch.from_numpy(np.hypot(rows, columns) < 12.5).float()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DEGREES", "SCALE"):
            patch.setattr(augmentation, name, 0.0)
        patch.setattr(augmentation, "SHIFT", 0)
        moved = affine(disc.expand(400, 1, *size), generator(0), sheared=True).squeeze(1).numpy()
    area = moved.sum((1, 2))
    assert abs(area / float(disc.sum()) - 1).max() < 0.02
    down, right, both = (
        (moved * product).sum((1, 2)) / area
        for product in (rows * rows, columns * columns, rows * columns)
    )
    stretches = (down / (right - both**2 / down)) ** 0.25  # height by width is its square
    slants = -both / down * stretches  # pixels aside for each that is a row down
    for found, most in ((slants, SLANT), (stretches - 1, STRETCH)):
        assert 0.95 * most < found.max() < 1.05 * most
        assert 0.95 * most < -found.min() < 1.05 * most


def test_affine_keeps_the_form_of_what_is_not_square():
    """A turned square stays a square where images are wider than high."""
    images = torch.zeros(200, 1, 31, 61)
    images[:, :, 8:23, 23:38] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation, "SCALE", 0.0)
        patch.setattr(augmentation, "SHIFT", 0)
        patch.setattr(augmentation, "DEGREES", 10.0)
        result = affine(images, generator(0)).squeeze(1).numpy()
    rows, columns = np.mgrid[-15:16, -30:31]
    covariance = (result * rows * columns).sum((1, 2)) / result.sum((1, 2))
    assert abs(covariance).max() < 0.5


@pytest.mark.parametrize("kind", ["none", "shift", "affine", "sheared"])
def test_augment_gives_float_pixels_and_repeats_itself(kind):
    images = noise((6, 3, 8, 9), 3)
    first, again = (augment(images, kind, generator(1)) for _ in range(2))
    assert first.dtype == torch.float32
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, again)
    assert torch.equal(first, images.float()) == (kind == "none")


@pytest.mark.parametrize("kind", ["shift", "affine", "sheared"])
def test_another_seed_moves_otherwise_and_images_move_apart(kind):
    images = noise((1, 1, 12, 12), 0).expand(8, 1, 12, 12)
    one, other = (augment(images, kind, generator(seed)) for seed in (1, 2))
    assert not torch.equal(one, other)
    assert not all(torch.equal(one[0], image) for image in one[1:])
    assert math.isfinite(float(one.sum()))
