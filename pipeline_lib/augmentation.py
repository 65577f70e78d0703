"""Batched augmentation of raw images: one gather or one resampling for the whole batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 2  # pixels
DEGREES = 10.0
SCALE = 0.1
PULL = 1.5  # pixels
CELLS = 5  # a side, whose corners are pulled


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Raw images (B, C, H, W) to float32 (B, C, H, W) in 0…255, each moved on its own.

    `kind` is "none", "shift" (whole pixels, up to ±2), "affine" (±10°, ±10 %, ±2 pixels) or
    "elastic" (that, and a smooth distortion of up to about ±1.5 pixels).
    """
    if kind == "shift":
        return shift(images, generator).float()
    if kind == "affine":
        return affine(images.float(), generator)
    if kind == "elastic":
        return elastic(images.float(), generator)
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


def affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) float, rotated, scaled and moved, bilinear, black beyond the border."""
    grid = _affine_grid(images, generator)
    return F.grid_sample(images, grid, align_corners=False)


def elastic(images: Tensor, generator: torch.Generator) -> Tensor:
    """As `affine`, and distorted: each corner of a coarse mesh is pulled to somewhere near.

    After Simard et al. 2003, "Best practices for convolutional neural networks applied to visual
    document analysis", sec. 2; with an interpolated mesh in place of smoothed noise.
    """
    batch, _, height, width = images.shape
    where = images.device
    pulls = torch.rand(batch, 2, CELLS, CELLS, generator=generator, device=where) * 2 - 1
    rows, columns = _mesh(height).to(where), _mesh(width).to(where)
    field = rows @ pulls @ columns.T  # (B, 2, H, W)
    farthest = torch.tensor([2 * PULL / width, 2 * PULL / height], device=where)
    grid = _affine_grid(images, generator) + field.permute(0, 2, 3, 1) * farthest  # (B, H, W, 2)
    return F.grid_sample(images, grid, align_corners=False)


def _mesh(pixels: int) -> Tensor:
    """How much each corner of the mesh counts at each pixel of a side, cubic: (pixels, CELLS)."""
    corners = torch.eye(CELLS)[None, :, None]  # (1, CELLS, 1, CELLS)
    between = F.interpolate(corners, (1, pixels), mode="bicubic", align_corners=True)
    return between[0, :, 0].T


def _affine_grid(images: Tensor, generator: torch.Generator) -> Tensor:
    """Where each pixel of (B, C, H, W) comes from, in [-1, 1]: (B, H, W, 2)."""
    batch, _, height, width = images.shape
    noise = torch.rand(4, batch, generator=generator, device=images.device)  # (4, B)
    noise = noise * 2 - 1
    angle = noise[0] * math.radians(DEGREES)
    scale = 1 + noise[1] * SCALE
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    right, down = noise[2] * 2 * SHIFT / width, noise[3] * 2 * SHIFT / height
    aspect = width / height  # affine_grid counts both sides from -1 to 1
    theta = torch.stack([cos, -sin / aspect, right, sin * aspect, cos, down], dim=1)
    theta = theta.view(batch, 2, 3)
    return F.affine_grid(theta, list(images.shape), align_corners=False)
