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
    batch, _, height, width = images.shape
    padded = F.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))  # (B, C, H + 2s, W + 2s)
    spots, where = 2 * SHIFT + 1, images.device
    moves = torch.randint(0, spots, (2, batch, 1), generator=generator, device=where)
    rows = moves[0] + torch.arange(height, device=where)  # (B, H)
    columns = moves[1] + torch.arange(width, device=where)  # (B, W)
    which = torch.arange(batch, device=where)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)


def affine(images: Tensor, generator: torch.Generator, sheared: bool = False) -> Tensor:
    """(B, C, H, W) float, rotated, scaled and moved, bilinear, black beyond the border.

    By up to `DEGREES`, `SCALE` and `SHIFT`; before that, where `sheared`, stretched by up to
    `STRETCH` and slanted by up to `SLANT`.
    """
    batch, _, height, width = images.shape
    draws = 6 if sheared else 4
    noise = torch.rand(draws, batch, generator=generator, device=images.device) * 2 - 1
    angle = noise[0] * math.radians(DEGREES)  # this and all that follow: (B,)
    scale = 1 + noise[1] * SCALE
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    right, down = noise[2] * 2 * SHIFT / width, noise[3] * 2 * SHIFT / height
    stretch, slant = (1 + noise[4] * STRETCH, noise[5] * SLANT) if sheared else (1.0, 0.0)
    to_right = [cos * stretch, cos * slant - sin / stretch]
    to_below = [sin * stretch, sin * slant + cos / stretch]
    aspect = width / height  # affine_grid counts both sides from -1 to 1
    theta = [to_right[0], to_right[1] / aspect, right, to_below[0] * aspect, to_below[1], down]
    grid = F.affine_grid(
        torch.stack(theta, dim=1).view(batch, 2, 3), list(images.shape), align_corners=False
    )  # (B, H, W, 2)
    return F.grid_sample(images, grid, align_corners=False)
