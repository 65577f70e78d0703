"""Batched augmentation of raw images: one gather or one resampling for the whole batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 2  # pixels
DEGREES = 10.0
SCALE = 0.1
STRETCH = 0.1  # wider and lower, or narrower and higher
SLANT = 0.15  # pixels aside for each pixel down


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Raw images (B, C, H, W) to float32 (B, C, H, W) in 0…255, each moved on its own.

    `kind` is "none", "shift" (whole pixels, up to ±2), "affine" (±10°, ±10 %, ±2 pixels) or
    "sheared" (affine, and stretched by ±10 % and slanted by ±0.15).
    """
    if kind == "shift":
        return shift(images, generator).float()
    if kind == "affine":
        return affine(images.float(), generator)
    if kind == "sheared":
        return affine(images.float(), generator, sheared=True)
    return images.float()


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) moved by up to ±`SHIFT` pixels, black beyond the border."""
    padded = F.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))  # (B, C, H + 2s, W + 2s)
    height, width = images.shape[2:]
    rows, columns = _moves(images, SHIFT, generator)  # (B, 1), (B, 1)
    there = torch.arange(max(height, width), device=images.device)
    return _gather(padded, SHIFT + rows + there[:height], SHIFT + columns + there[:width])


def crop(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) moved by up to ±`reach` pixels, the border's own pixels beyond it."""
    height, width = images.shape[2:]
    rows, columns = _moves(images, reach, generator)  # (B, 1), (B, 1)
    there = torch.arange(max(height, width), device=images.device)
    rows, columns = rows + there[:height], columns + there[:width]  # (B, H), (B, W)
    return _gather(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))


def _moves(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Whole numbers in -reach…reach: (2, B, 1)."""
    shape = (2, len(images), 1)
    moves = torch.randint(0, 2 * reach + 1, shape, generator=generator, device=images.device)
    return moves.sub_(reach)


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels (B, C, h, w) of images (B, C, H, W) at rows (B, h) and columns (B, w)."""
    which = torch.arange(len(images), device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)  # from (B, h, w, C)


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, C, H, W), every other one mirrored sideways, at random."""
    heads = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(heads, images.flip(3), images)


def recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) float in 0…255, of another brightness, contrast and saturation, in that order.

    Each is multiplied by a factor in 1 ± `strength`, one for each image.
    """
    noise = torch.rand(3, len(images), 1, 1, 1, generator=generator, device=images.device)
    brightness, contrast, saturation = 1 + (2 * noise - 1) * strength  # (B, 1, 1, 1) each
    images = images * brightness
    middle = images.mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    images = middle + (images - middle) * contrast
    grey = images.mean(1, keepdim=True)  # (B, 1, H, W)
    recoloured: Tensor = grey + (images - grey) * saturation
    return recoloured.clamp(0, 255)


def cutout(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) float, a square of each as grey as the batch is on average.

    Its side is a share of the smaller side; it lies anywhere, partly outside too (DeVries &
    Taylor 2017).
    """
    batch, _, height, width = images.shape
    side = max(1, round(share * min(height, width)))
    places = torch.rand(2, batch, 1, generator=generator, device=images.device)
    sizes = torch.tensor([[[height]], [[width]]], device=images.device)
    top, left = (places * sizes).long() - side // 2  # (B, 1) each
    rows = torch.arange(height, device=images.device) - top  # (B, H)
    columns = torch.arange(width, device=images.device) - left  # (B, W)
    within = [(each >= 0) & (each < side) for each in (rows, columns)]
    hole = within[0][:, None, :, None] & within[1][:, None, None, :]  # (B, 1, H, W)
    return torch.where(hole, images.mean((0, 2, 3), keepdim=True), images)


def mixup(
    images: Tensor, targets: Tensor, most: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) and targets (B, classes), each blended with those of another example.

    After Zhang et al. 2018, but the share of the other is uniform in 0…`most`: the label that an
    image came with stays the likeliest.
    """
    batch, where = len(images), images.device
    other = torch.randperm(batch, generator=generator, device=where)
    share = torch.rand(batch, 1, generator=generator, device=where) * most  # (B, 1)
    mixed = images.lerp(images[other], share[:, :, None, None])
    return mixed, targets.lerp(targets[other], share)


def affine(
    images: Tensor, generator: torch.Generator, sheared: bool = False, moved: bool = True
) -> Tensor:
    """(B, C, H, W) float, rotated, scaled and moved, bilinear, black beyond the border.

    By up to `DEGREES`, `SCALE` and, where `moved`, `SHIFT`; before that, where `sheared`, stretched
    by up to `STRETCH` and slanted by up to `SLANT`.
    """
    batch, _, height, width = images.shape
    draws = 6 if sheared else 4
    noise = torch.rand(draws, batch, generator=generator, device=images.device) * 2 - 1
    angle = noise[0] * math.radians(DEGREES)  # this and all that follow: (B,)
    scale = 1 + noise[1] * SCALE
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    reach = SHIFT if moved else 0
    right, down = noise[2] * 2 * reach / width, noise[3] * 2 * reach / height
    stretch, slant = (1 + noise[4] * STRETCH, noise[5] * SLANT) if sheared else (1.0, 0.0)
    to_right = [cos * stretch, cos * slant - sin / stretch]
    to_below = [sin * stretch, sin * slant + cos / stretch]
    aspect = width / height  # affine_grid counts both sides from -1 to 1
    theta = [to_right[0], to_right[1] / aspect, right, to_below[0] * aspect, to_below[1], down]
    grid = F.affine_grid(
        torch.stack(theta, dim=1).view(batch, 2, 3), list(images.shape), align_corners=False
    )  # (B, H, W, 2)
    return F.grid_sample(images, grid, align_corners=False)
