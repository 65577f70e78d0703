import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.training import transforms as augmentation
from pipeline_lib.training.transforms import (
    SHIFT,
    SLANT,
    STRETCH,
    affine,
    augment,
    crop,
    cutout,
    flip,
    mixup,
    recolour,
    shift,
)

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


@given(shapes, seeds, st.integers(1, 4))
def test_crop_moves_every_image_by_whole_pixels_and_repeats_its_border(shape, seed, reach):
    images = noise(shape, seed)
    cropped = crop(images, reach, generator(seed))
    assert cropped.dtype == torch.uint8
    assert cropped.shape == images.shape
    size = (reach, reach, reach, reach)
    padded = torch.nn.functional.pad(images.float(), size, mode="replicate").byte()
    height, width = shape[2:]
    for before, after in zip(padded, cropped, strict=True):
        windows = before.unfold(1, height, 1).unfold(2, width, 1)  # (C, 2r + 1, 2r + 1, H, W)
        same = (windows == after[:, None, None]).all(-1).all(-1).all(0)
        assert same.any()


def test_crop_moves_as_far_as_it_says_in_every_direction_and_no_farther():
    images = torch.zeros(2000, 1, 11, 11, dtype=torch.uint8)
    images[:, :, 5, 5] = 255
    at = crop(images, 3, generator(0)).squeeze(1).nonzero()[:, 1:] - 5
    steps = range(-3, 4)
    assert {tuple(place) for place in at.tolist()} == {(d, r) for d in steps for r in steps}


def test_flip_mirrors_half_of_the_images_sideways():
    images = noise((1000, 2, 3, 4), 0)
    flipped = flip(images, generator(0))
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    kept = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 400 < mirrored.sum() < 600


def test_recolour_changes_brightness_contrast_and_saturation_of_each_image():
    generated = generator(0)
    images = 64 + 128 * torch.rand(1, 3, 6, 6, generator=generated).expand(500, 3, 6, 6)
    result = recolour(images, 0.3, generator(1))
    assert result.min() >= 0
    assert result.max() <= 255
    brightness = result.mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert 0.68 < brightness.min() < 0.75
    assert 1.25 < brightness.max() < 1.31
    colourfulness = [
        (each - each.mean(1, keepdim=True)).std((1, 2, 3)) / each.mean((1, 2, 3))
        for each in (images, result)
    ]
    ratio = colourfulness[1] / colourfulness[0]  # contrast and saturation, brightness cancelled
    assert ratio.min() < 0.65
    assert ratio.max() > 1.4
    torch.testing.assert_close(recolour(images, 0.0, generator(1)), images)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_cutout_covers_a_square_of_each_image_with_the_mean_colour(share):
    images = 100 + 50 * torch.rand(500, 3, 16, 20, generator=generator(0))
    result = cutout(images, share, generator(1))
    covered = result != images
    assert torch.equal(covered.any(1), covered.all(1))  # every channel at the same place
    mean = images.mean((0, 2, 3), keepdim=True)
    torch.testing.assert_close(result[covered], mean.expand_as(images)[covered])
    side = round(share * 16)
    holes = covered[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), heights * widths)  # a rectangle
    assert heights.max() == widths.max() == side
    assert (heights * widths == side * side).float().mean() > 0.25
    assert holes.any(0).all()  # anywhere


def test_mixup_blends_images_and_targets_by_the_same_share():
    images = torch.arange(40.0)[:, None, None, None].expand(40, 1, 2, 2)
    targets = torch.eye(40)
    mixed, aims = mixup(images, targets, 0.4, generator(0))
    torch.testing.assert_close(aims.sum(1), torch.ones(40))
    torch.testing.assert_close(mixed[:, 0, 0, 0], aims @ torch.arange(40.0))
    own = aims.diagonal()
    assert own.min() > 0.6
    assert own.min() < 0.65  # up to the most that was asked for
    assert (own < 1).sum() > 30


def test_each_of_them_repeats_itself_and_follows_its_seed():
    images, targets = noise((6, 3, 8, 9), 3).float(), torch.eye(6)
    for change in (
        lambda g: crop(images, 2, g),
        lambda g: flip(images, g),
        lambda g: recolour(images, 0.4, g),
        lambda g: cutout(images, 0.5, g),
        lambda g: mixup(images, targets, 0.4, g)[0],
    ):
        first, again, other = (change(generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_affine_that_does_not_move_leaves_the_middle_where_it_is():
    images = torch.zeros(200, 1, 21, 21)
    images[:, :, 10, 10] = 1.0
    for moved, farthest in ((False, 0.2), (True, 3.0)):
        result = affine(images, generator(0), moved=moved).squeeze(1)
        grid = torch.arange(21.0) - 10
        mass = result.sum((1, 2))
        down = (result.sum(2) * grid).sum(1) / mass
        assert (down.abs().max() < 0.2) == (not moved)
        assert down.abs().max() < farthest
