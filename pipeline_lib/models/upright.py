"""A first layer that has nothing to learn: it sets leaning images upright."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEEPEST = 1.0  # pixels aside for each row: what leans farther is taken to lean so far
_LEAST = 1e-3  # instead of no light, or none above or below another


class Upright(nn.Module):
    """Raw images (B, C, H, W), uint8 or float, to float32 (B, C, H, W) that do not lean.

    The slant follows from the second moments of brightness; rows are moved sideways until the
    principal axis is vertical (LeCun et al. 1998, sec. III-B). Black comes in beyond the border.
    In float32 also under autocast: bfloat16 cannot tell the pixels of a row apart.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W), bilinear."""
        with torch.autocast(images.device.type, enabled=False):
            pixels = images.float()
            return F.grid_sample(pixels, _upright_grid(pixels), align_corners=False)


@torch.no_grad()  # nothing learns from it, and diagrams show one step instead of thirty
def _upright_grid(pixels: Tensor) -> Tensor:
    """Where each pixel (B, C, H, W) comes from: (B, H, W, 2), in -1…1 as `grid_sample` counts."""
    _, _, height, width = pixels.shape
    light = pixels.mean(1)  # (B, H, W)
    total = light.sum((1, 2)).clamp_min(_LEAST)  # (B,)
    rows = torch.arange(height, device=pixels.device)[:, None]  # (H, 1)
    columns = torch.arange(width, device=pixels.device)  # (W,)
    middle = (light * rows).sum((1, 2)) / total  # (B,)
    center = (light * columns).sum((1, 2)) / total  # (B,)
    down = rows - middle[:, None, None]  # (B, H, 1)
    right = columns - center[:, None, None]  # (B, 1, W)
    across = (light * down * right).sum((1, 2)) / total  # (B,)
    along = (light * down * down).sum((1, 2)) / total  # (B,)
    slant = (across / along.clamp_min(_LEAST)).clamp(-STEEPEST, STEEPEST)  # (B,)
    # A pixel comes from `slant` times its rows below the middle to the right; affine_grid
    # counts both sides from -1 to 1.
    kept, none = torch.ones_like(slant), torch.zeros_like(slant)
    aside = slant * ((height - 1) / 2 - middle) * 2 / width
    theta = torch.stack([kept, slant * height / width, aside, none, kept, none], dim=1)
    return F.affine_grid(theta.view(-1, 2, 3), list(pixels.shape), align_corners=False)
