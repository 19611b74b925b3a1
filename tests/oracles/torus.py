"""Patches of a poster whose opposite edges touch, pixel by pixel: slow, and written from the definitions alone."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import floor

import numpy as np

Size = tuple[int, int]


def corners(size: Size, grid: Size) -> list[Size]:
    """Return (y, x) of n_x x n_y patches, equal steps apart on each side and rounded down, column after column."""
    (height, width), (columns, rows) = size, grid
    return [(floor(Fraction(j * height, rows)), floor(Fraction(i * width, columns))) for i in range(columns) for j in range(rows)]


def pixels(corner: Size, patch: Size, size: Size) -> Iterator[tuple[Size, Size]]:
    """Yield (place in the patch, place on the poster) of every pixel of a patch."""
    for dy in range(patch[0]):
        for dx in range(patch[1]):
            y, x = corner[0] + dy, corner[1] + dx
            yield (dy, dx), (y - size[0] if y >= size[0] else y, x - size[1] if x >= size[1] else x)


def crops(poster: np.ndarray, patch: Size, grid: Size) -> np.ndarray:
    """Return the (n, c, p_h, p_w) patches of a (c, H, W) poster."""
    size = poster.shape[1:]
    places = corners(size, grid)
    out = np.zeros((len(places), len(poster), *patch))
    for k, corner in enumerate(places):
        for (dy, dx), (y, x) in pixels(corner, patch, size):
            out[k, :, dy, dx] = poster[:, y, x]
    return out


def gradient(weights: np.ndarray, size: Size, grid: Size) -> np.ndarray:
    """Return the gradient (c, H, W) of the sum of (n, c, p_h, p_w) ``weights`` times the patches."""
    out = np.zeros((weights.shape[1], *size))
    for weight, corner in zip(weights, corners(size, grid), strict=True):
        for (dy, dx), (y, x) in pixels(corner, weights.shape[2:], size):
            out[:, y, x] += weight[:, dy, dx]
    return out


def coverage(size: Size, patch: Size, grid: Size) -> np.ndarray:
    """Return how many patches each pixel of the poster lies in: (H, W)."""
    return gradient(np.ones((grid[0] * grid[1], 1, *patch)), size, grid)[0]


def shares(size: Size, patch: Size, grid: Size, areas: list[Size], area: Size, order: list[int]) -> np.ndarray:
    """Return the (n, C) number of a patch's pixels inside each class's area, which wraps around no edge."""
    places = corners(size, grid)
    out = np.zeros((len(places), len(areas)))
    for k, corner in enumerate(places):
        for _, (y, x) in pixels(corner, patch, size):
            for cell, (top, left) in enumerate(areas):
                out[k, order[cell]] += top <= y < top + area[0] and left <= x < left + area[1]
    return out


def nearest_windows(first: int, patch: int, field: int, window: int, cells: int) -> set[int]:
    """Return where windows of ``cells`` around a ring start whose middle is nearest to that of a patch: two where it is a tie."""
    middle = (first + Fraction(patch, 2)) * cells / field

    def apart(start: int) -> Fraction:
        gap = (start + Fraction(window, 2) - middle) % cells
        return min(gap, cells - gap)

    best = min(apart(start) for start in range(cells))
    return {start for start in range(cells) if apart(start) == best}


def window_sums(array: np.ndarray, starts: list[Size], window: Size) -> np.ndarray:
    """Return the (n, C) sums of a (C, h, w) array over windows that wrap."""
    out = np.zeros((len(starts), len(array)))
    for k, start in enumerate(starts):
        for _, (y, x) in pixels(start, window, array.shape[1:]):
            out[k] += array[:, y, x]
    return out
