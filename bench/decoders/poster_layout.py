"""Where patches, class areas and label crops lie on a poster of a given size.

Everything here is exact integer arithmetic on small grids, without tensors (PoDD, Shul et al. 2024, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import BenchError


def starts(field: int, window: int, count: int) -> list[int]:
    """Return where ``count`` windows start in a field: ``round_half_even(linspace(0, field - window, count))``.

    The list keeps duplicates, so that entry i of patches, class areas and label crops belong together.
    """
    return [int(x) for x in np.rint(np.linspace(0, field - window, count))]


def starts_around(field: int, count: int) -> list[int]:
    """Return where ``count`` windows start on a ring of ``field`` places: ``floor(i * field / count)``.

    Floors of equal steps spread as evenly as whole numbers can: any two stretches of one length hold equally many starts,
    but for one. So every place lies in equally many windows, but for one, and in exactly as many where the step divides the
    window.
    """
    return [i * field // count for i in range(count)]


def pieces(length: int, parts: int) -> list[tuple[int, int]]:
    """Cut ``length`` pixels into ``parts`` pieces of nearly equal size: (start, end) of each."""
    edges = starts(length, 0, parts + 1)
    return list(zip(edges, edges[1:], strict=False))


@dataclass(frozen=True)
class PosterLayout:
    """Where everything lies on a poster.

    Attributes:
        size: (H, W) of the poster in pixels.
        patch: (p_h, p_w) of a patch, the size of an image; up to one image per class also that of a class area.
        patch_grid: (n_x, n_y) patches, clamped so that no two are the same.
        class_grid: (g_x, g_y) class areas.
        toroidal: whether opposite edges of the poster touch: patches then start anywhere and go on at the other edge, so that
            pixels at the edges lie in as many of them as all others. Class areas stay inside either way.
    """

    size: tuple[int, int]
    patch: tuple[int, int]
    patch_grid: tuple[int, int]
    class_grid: tuple[int, int]
    toroidal: bool = False

    def __post_init__(self) -> None:
        """Refuse a poster that is smaller than one patch, and a grid that has no patch or two of them in one place.

        Raises:
            BenchError: it is, or does; the sentence has the sizes.
        """
        if self.size[0] < self.patch[0] or self.size[1] < self.patch[1]:
            poster, patch = (f"{width}x{height} px" for height, width in (self.size, self.patch))
            raise BenchError(f"a poster of {poster} is smaller than one patch of {patch}; raise the budget")
        places = self.places
        if not all(1 <= count <= room for count, room in zip(self.patch_grid, places, strict=True)) or min(self.class_grid) < 1:
            grids = " and ".join("x".join(map(str, grid)) for grid in (self.patch_grid, self.class_grid))
            raise BenchError(f"grids of {grids} do not fit a poster with room for {places[0]}x{places[1]} patches; ask for smaller ones")

    @property
    def places(self) -> tuple[int, int]:
        """How many columns and rows of patches lie at different positions, at most."""
        height, width = (1, 1) if self.toroidal else self.patch
        return self.size[1] - width + 1, self.size[0] - height + 1

    @property
    def columns(self) -> list[int]:
        """x of every patch column."""
        return self._starts(1, self.patch_grid[0])

    @property
    def rows(self) -> list[int]:
        """y of every patch row."""
        return self._starts(0, self.patch_grid[1])

    def _starts(self, side: int, count: int) -> list[int]:
        field = self.size[side]
        return starts_around(field, count) if self.toroidal else starts(field, self.patch[side], count)

    def patches(self) -> list[tuple[int, int]]:
        """Return (y, x) of every patch; x is the outer loop, as in the authors' code."""
        return [(y, x) for x in self.columns for y in self.rows]

    @property
    def area(self) -> tuple[int, int]:
        """(height, width) of a class area: a patch, or more where areas of that size would leave gaps between them.

        That happens above one image per class; the paper has no such case.
        """
        columns, rows = self.class_grid
        return max(self.patch[0], -(-self.size[0] // rows)), max(self.patch[1], -(-self.size[1] // columns))

    @property
    def images_per_area(self) -> tuple[int, int]:
        """(rows, columns) of images that lie side by side in a class area, as near to their full size as they can be."""
        return round(self.area[0] / self.patch[0]), round(self.area[1] / self.patch[1])

    def areas(self) -> list[tuple[int, int]]:
        """Return (y, x) of every class area, row after row (cell k of the row-major class order)."""
        columns = starts(self.size[1], self.area[1], self.class_grid[0])
        return [(y, x) for y in starts(self.size[0], self.area[0], self.class_grid[1]) for x in columns]

    def distinct_areas(self) -> int:
        """Count the class areas that lie at different positions."""
        return len(set(self.areas()))
