"""Digits as other hands might have placed them: turned, scaled and shifted a little."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TURN = math.radians(10)
SCALE = 0.1
SHIFT = 2.0  # pixels


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (n, 1, h, w) turned, scaled and shifted at random, with zeros from outside.

    By up to 10 degrees, a tenth and 2 pixels, interpolated linearly. The random numbers are drawn
    on the CPU, so that they are the same on every device.
    """
    n, _, height, width = images.shape
    turn, scale, down, right = 2 * torch.rand(4, n, generator=generator) - 1
    angle, factor = TURN * turn, 1 + SCALE * scale
    cos, sin = factor * angle.cos(), factor * angle.sin()
    x, y = (2 * SHIFT * shift / size for shift, size in ((right, width), (down, height)))
    maps = torch.stack((cos, -sin, x, sin, cos, y), 1).view(n, 2, 3)
    grid = F.affine_grid(maps.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
