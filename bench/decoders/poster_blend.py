"""Images laid into the class areas of a poster, which fade into their neighbours (PoDD, Shul et al. 2024, its initial poster)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .poster_layout import PosterLayout, pieces, starts


def tiled_area(images: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Lay (n, c, h, w) images side by side, ``grid`` = (rows, columns) of them, into an area (c, *size), resized to fit."""
    if grid == (1, 1) and images.shape[2:] == size:
        return images[0]
    area = images.new_zeros(images.shape[1], *size)
    rows, columns = pieces(size[0], grid[0]), pieces(size[1], grid[1])
    for place, image in enumerate(images):
        row, column = divmod(place, grid[1])
        (top, bottom), (left, right) = rows[row], columns[column]
        fitted = F.interpolate(image[None], (bottom - top, right - left), mode="bilinear", align_corners=False, antialias=True)
        area[:, top:bottom, left:right] = fitted[0]
    return area


def blend(areas: Tensor, layout: PosterLayout) -> Tensor:
    """Lay class areas (C, c, a_h, a_w), row after row, onto a poster (c, H, W), fading where neighbours overlap.

    Each row is blended from left to right, then the strips from top to bottom; areas cover the whole poster.
    The authors pair ``rows[:g_x - 1]`` with their successors, which drops rows of tall class grids; here all g_y rows
    are paired.
    """
    columns, rows = layout.class_grid
    ys = starts(layout.size[0], layout.area[0], rows)
    xs = starts(layout.size[1], layout.area[1], columns)
    grid = areas.unflatten(0, (rows, columns))
    strips = [fade(list(grid[row].unbind(0)), xs, layout.size[1], dim=2) for row in range(rows)]
    return fade(strips, ys, layout.size[0], dim=1)


def fade(pieces: list[Tensor], offsets: list[int], length: int, dim: int) -> Tensor:
    """Lay (c, h, w) pieces of one size along ``dim`` at ``offsets`` into ``length``, fading linearly over overlaps.

    Over an overlap of ``ov`` pixels what was laid before has weight ``1 - u`` and the new piece ``u``, with
    ``u = linspace(0, 1, ov)`` (for ov = 1 the old piece stays).
    """
    span = pieces[0].shape[dim]
    shape = list(pieces[0].shape)
    shape[dim] = length
    out = pieces[0].new_zeros(shape)
    filled = 0
    for piece, offset in zip(pieces, offsets, strict=True):
        weight = piece.new_ones(span)
        overlap = max(0, min(filled - offset, span))
        if overlap:
            weight[:overlap] = torch.linspace(0.0, 1.0, overlap, dtype=piece.dtype) if overlap > 1 else 0.0
        view = [1, 1, 1]
        view[dim] = span
        target = out.narrow(dim, offset, span)
        target.copy_(target + weight.view(view) * (piece - target))
        filled = max(filled, offset + span)
    return out
