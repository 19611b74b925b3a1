"""How large a poster is and how many patches it has: the size rule of PoDD (Shul et al. 2024, section 3), in exact integers."""

from __future__ import annotations

import math
import re

from bench import BenchError
from bench.decoders.poster_layout import PosterLayout


def parse_size(text: str) -> tuple[int, int] | None:
    """Read ``153x60`` (width x height) as (height, width); ``auto`` is ``None``.

    Raises:
        BenchError: the text is neither.
    """
    if text == "auto":
        return None
    match = re.fullmatch(r"0*([1-9]\d{0,5})x0*([1-9]\d{0,5})", text)
    if match is None:
        raise BenchError("write width x height, e.g. 153x60, or auto")
    return int(match[2]), int(match[1])


def parse_overlap(text: str | float) -> tuple[float, float]:
    """Read ``0.75x0.8`` (along the columns x along the rows), or one number for both.

    Raises:
        BenchError: the text is neither, or a number is not in [0, 1).
    """
    first, cross, second = str(text).partition("x")
    try:
        found = float(first), float(second if cross else first)
    except ValueError:
        found = (-1.0, -1.0)
    if not all(0.0 <= share < 1.0 for share in found):
        raise BenchError("write shares from 0 to below 1, columns x rows, e.g. 0.75x0.8")
    return found


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


def patch_count(field: int, window: int, overlap: float) -> int:
    """Return how many windows cover a field if neighbours share at least ``overlap`` of their length."""
    return math.ceil((field - window) / (window * (1.0 - overlap)) - 1e-9) + 1


def patch_count_around(field: int, window: int, overlap: float) -> int:
    """Return how many windows cover a ring if neighbours share at least ``overlap`` of their length."""
    return math.ceil(field / (window * (1.0 - overlap)) - 1e-9)


def patch_grid(
    size: tuple[int, int],
    patch: tuple[int, int],
    asked: tuple[int, int] | None,
    overlap: tuple[float, float],
    toroidal: bool = False,
) -> tuple[int, int]:
    """Return (n_x, n_y): what was asked for or what the overlap gives, at least so many that every pixel lies in a patch.

    The numbers are limited to distinct positions, so that no patch is trained on twice. The authors keep duplicates: on
    a poster barely taller than a patch the 16x6 grid of CIFAR-10 has only 64 different patches, and some silently count
    twice. They keep the numbers on larger posters as well, where patches then no longer touch.
    """
    counts, enough = [], patch_count_around if toroidal else patch_count
    for axis, field, window in ((0, size[1], patch[1]), (1, size[0], patch[0])):
        wanted = asked[axis] if asked else enough(field, window, overlap[axis])
        counts.append(min(max(wanted, enough(field, window, 0.0)), field if toroidal else field - window + 1))
    return counts[0], counts[1]


def plan_layout(
    pixels: int,
    classes: int,
    patch: tuple[int, int],
    asked: tuple[int, int] | None,
    overlap: tuple[float, float],
    size: tuple[int, int] | None = None,
    toroidal: bool = False,
) -> PosterLayout | None:
    """Choose size, class grid and patch grid of a poster for a budget.

    The squarest class grid is taken whose class areas all lie at different positions; 10 classes of 8x8 images at 0.3
    images per class give 10x1 on a poster of 24x8, because two rows of areas would coincide. On the smallest posters,
    where no grid achieves that, the one with the most distinct areas is taken.

    Args:
        pixels: budget.
        classes: number of classes.
        patch: (height, width) of an image.
        asked: patch grid (n_x, n_y), or ``None`` for what the overlap gives.
        overlap: shares of a patch along columns and rows.
        size: (H, W) fixed by a recipe, or ``None`` for the size rule.
        toroidal: whether patches go on at the opposite edge.

    Returns:
        The layout, or ``None`` if not even one patch fits.
    """
    best: PosterLayout | None = None
    for grid in class_grids(classes):
        chosen = size or poster_size(pixels, patch, grid)
        if chosen is None or chosen[0] < patch[0] or chosen[1] < patch[1]:
            continue
        layout = PosterLayout(chosen, patch, patch_grid(chosen, patch, asked, overlap, toroidal), grid, toroidal)
        if best is None or layout.distinct_areas() > best.distinct_areas():
            best = layout
    return best
