"""Geometry of a poster: its size, its class grid, and where patches, class areas and label crops lie.

Everything here is exact integer arithmetic on small grids, without tensors (PoDD, Shul et al. 2024, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import BenchError


def parse_size(text: str, name: str) -> tuple[int, int] | None:
    """Read ``153x60`` (width x height) as (height, width); ``auto`` is ``None``.

    Raises:
        BenchError: the text is neither; ``name`` says which field it stands in.
    """
    if text == "auto":
        return None
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BenchError(f"{name} is '{text}'; write width x height, e.g. 153x60")
    return int(height), int(width)


def parse_patch_grid(text: str, method: str) -> tuple[int, int]:
    """Read the field ``patches`` of a method, ``16x6``, as (columns, rows).

    Raises:
        BenchError: the text is not of that form.
    """
    size = parse_size(text, f"{method}.patches")
    if size is None:
        raise BenchError("patches is auto; give a patch grid such as 16x6")
    return size[1], size[0]


def starts(field: int, window: int, count: int) -> list[int]:
    """Return where ``count`` windows start in a field: ``round_half_even(linspace(0, field - window, count))``.

    The list keeps duplicates, so that entry i of patches, class areas and label crops belong together.
    """
    return [int(x) for x in np.rint(np.linspace(0, field - window, count))]


def class_grids(classes: int) -> list[tuple[int, int]]:
    """Return the factorisations (columns, rows) of ``classes`` that are not taller than wide, the squarest first.

    10 classes give 5x2, then 10x1; 100 give 10x10 first; 200 give 20x10 first.
    """
    return [(classes // rows, rows) for rows in range(math.isqrt(classes), 0, -1) if classes % rows == 0]


def poster_size(pixels: int, patch: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int] | None:
    """Return (height, width) of the poster for a budget: ``H = max(p_h, ⌊√(B·gy/gx)⌋)``, ``W = ⌊B/H⌋``.

    Args:
        pixels: budget B.
        patch: height and width of one patch.
        grid: class grid (gx columns, gy rows).

    Returns:
        The size, or ``None`` where the poster would be narrower than one patch.
    """
    columns, rows = grid
    height = max(patch[0], math.isqrt(pixels * rows // columns))
    width = pixels // height
    return (height, width) if width >= patch[1] else None


@dataclass(frozen=True)
class PosterLayout:
    """Where everything lies on a poster.

    Attributes:
        size: (H, W) of the poster in pixels.
        patch: (p_h, p_w) of a patch, the size of an image; also the size of a class area.
        patch_grid: (n_x, n_y) patches, clamped so that no two are the same.
        class_grid: (g_x, g_y) class areas.
    """

    size: tuple[int, int]
    patch: tuple[int, int]
    patch_grid: tuple[int, int]
    class_grid: tuple[int, int]

    def __post_init__(self) -> None:
        """Refuse a poster that is smaller than one patch.

        Raises:
            BenchError: it is; the sentence has both sizes.
        """
        if self.size[0] < self.patch[0] or self.size[1] < self.patch[1]:
            poster, patch = (f"{width}x{height} px" for height, width in (self.size, self.patch))
            raise BenchError(f"a poster of {poster} is smaller than one patch of {patch}; raise the budget")

    @property
    def columns(self) -> list[int]:
        """x of every patch column."""
        return starts(self.size[1], self.patch[1], self.patch_grid[0])

    @property
    def rows(self) -> list[int]:
        """y of every patch row."""
        return starts(self.size[0], self.patch[0], self.patch_grid[1])

    def patches(self) -> list[tuple[int, int]]:
        """Return (y, x) of every patch; x is the outer loop, as in the authors' code."""
        return [(y, x) for x in self.columns for y in self.rows]

    def areas(self) -> list[tuple[int, int]]:
        """Return (y, x) of every class area, row after row (cell k of the row-major class order)."""
        columns = starts(self.size[1], self.patch[1], self.class_grid[0])
        return [(y, x) for y in starts(self.size[0], self.patch[0], self.class_grid[1]) for x in columns]

    def distinct_areas(self) -> int:
        """Count the class areas that lie at different positions."""
        return len(set(self.areas()))


def clamp_patch_grid(size: tuple[int, int], patch: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Limit (n_x, n_y) to the number of distinct positions, so that no patch is trained on twice.

    The authors keep duplicates: on a poster barely taller than a patch the 16x6 grid of CIFAR-10 has only 64 different
    patches, and some silently count twice.
    """
    return min(grid[0], size[1] - patch[1] + 1), min(grid[1], size[0] - patch[0] + 1)


def plan_layout(
    pixels: int, classes: int, patch: tuple[int, int], patch_grid: tuple[int, int], size: tuple[int, int] | None = None
) -> PosterLayout | None:
    """Choose size and class grid of a poster for a budget.

    The squarest class grid is taken whose class areas all lie at different positions; 10 classes of 8x8 images at 0.3
    images per class give 10x1 on a poster of 24x8, because two rows of areas would coincide. On the smallest posters,
    where no grid achieves that, the one with the most distinct areas is taken.

    Args:
        pixels: budget.
        classes: number of classes.
        patch: (height, width) of an image.
        patch_grid: (n_x, n_y) asked for; clamped.
        size: (H, W) fixed by a recipe, or ``None`` for the size rule.

    Returns:
        The layout, or ``None`` if not even one patch fits.
    """
    best: PosterLayout | None = None
    for grid in class_grids(classes):
        chosen = size or poster_size(pixels, patch, grid)
        if chosen is None or chosen[0] < patch[0] or chosen[1] < patch[1]:
            continue
        layout = PosterLayout(chosen, patch, clamp_patch_grid(chosen, patch, patch_grid), grid)
        if best is None or layout.distinct_areas() > best.distinct_areas():
            best = layout
    return best
