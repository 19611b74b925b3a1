"""DSA's operations one image, one pixel and one formula at a time (Zhao & Bilen 2021, appendix)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def color(image: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    out = image + brightness
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            gray = sum(float(v) for v in out[:, y, x]) / out.shape[0]
            out[:, y, x] = torch.tensor([(float(v) - gray) * saturation + gray for v in out[:, y, x]])
    middle = out.mean()
    return (out - middle) * contrast + middle


def shift(image: Tensor, right: int, down: int) -> Tensor:
    """Return the window that lies ``right`` and ``down`` of the image, zeros outside."""
    out = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                out[:, y, x] = image[:, y + down, x + right]
    return out


def resample(image: Tensor, matrix: list[list[float]]) -> Tensor:
    """Bilinear look-up, pixel by pixel, at matrix·(x, y, 1) in units where the image spans -1..1 (pixel edges)."""
    _, height, width = image.shape
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            u, v = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
            source_x = ((matrix[0][0] * u + matrix[0][1] * v + matrix[0][2] + 1) * width - 1) / 2
            source_y = ((matrix[1][0] * u + matrix[1][1] * v + matrix[1][2] + 1) * height - 1) / 2
            left, top = math.floor(source_x), math.floor(source_y)
            for yy in (top, top + 1):
                for xx in (left, left + 1):
                    if 0 <= yy < height and 0 <= xx < width:
                        weight = (1 - abs(source_x - xx)) * (1 - abs(source_y - yy))
                        out[:, y, x] += weight * image[:, yy, xx]
    return out
