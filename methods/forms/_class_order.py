"""PoCO: which class lies where on the poster, so that similar classes are neighbours."""

from __future__ import annotations

from torch import Tensor


def anti_diagonals(rows: int, columns: int) -> list[tuple[int, int]]:
    """Return the cells (row, column) of a grid by anti-diagonals from the top left corner, each from its bottom up.

    2x5 gives (0,0), (1,0), (0,1), (1,1), (0,2), ...
    """
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    return sorted(cells, key=lambda cell: (cell[0] + cell[1], -cell[0]))


def greedy_order(distance: Tensor, rows: int, columns: int) -> list[int]:
    """Place classes so that neighbours are near in ``distance`` (PoDD's PoCO).

    The first class goes to the top left. Along the anti-diagonals every next cell gets the remaining class with the
    smallest sum of distances to its filled neighbours; ties go to the first class.

    Args:
        distance: (C, C) distances with C = rows·columns.
        rows: rows of the class grid.
        columns: columns of the class grid.

    Returns:
        The class of every cell, row after row.
    """
    remaining = list(range(rows * columns))
    placed: dict[tuple[int, int], int] = {}
    for row, column in anti_diagonals(rows, columns):
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        neighbours = [placed[cell] for cell in around if cell in placed]
        best = min(remaining, key=lambda c: (sum(float(distance[c, other]) for other in neighbours), c))
        placed[row, column] = best
        remaining.remove(best)
    return [placed[row, column] for row in range(rows) for column in range(columns)]
