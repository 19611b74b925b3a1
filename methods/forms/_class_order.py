"""PoCO: which class lies where on the poster, so that similar classes are neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import torch
from torch import Tensor

from bench.seeding import stream

_DRAWS = 100  # random orders that stand for all of them


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
    apart = distance.tolist()
    remaining = list(range(rows * columns))
    placed: dict[tuple[int, int], int] = {}
    for row, column in anti_diagonals(rows, columns):
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        neighbours = [placed[cell] for cell in around if cell in placed]
        best = min(remaining, key=lambda c: (sum(apart[c][other] for other in neighbours), c))
        placed[row, column] = best
        remaining.remove(best)
    return [placed[row, column] for row in range(rows) for column in range(columns)]


def neighbour_similarity(distance: Tensor, order: Sequence[int], rows: int, columns: int) -> float:
    """Return the mean of ``1 - distance`` over all pairs of classes that lie side by side or one above the other.

    Args:
        distance: (C, C) distances.
        order: the class of every cell, row after row.
        rows: rows of the class grid.
        columns: columns of the class grid.
    """
    grid = torch.tensor(order).view(rows, columns)
    beside, below = distance[grid[:, :-1], grid[:, 1:]], distance[grid[:-1], grid[1:]]
    pairs = torch.cat([beside.flatten(), below.flatten()])
    return float(1.0 - pairs.mean()) if len(pairs) else 0.0


def similarity_table(distance: Tensor, rows: int, columns: int) -> dict[str, float]:
    """Return the mean similarity of neighbours for every kind of order, by the same distances.

    ``greedy`` is PoCO's order, ``reversed`` the one that puts the most different classes side by side, and ``random``
    the mean over random orders.
    """
    classes = rows * columns
    generator = stream("neighbour similarity", classes)
    draws = [torch.randperm(classes, generator=generator).tolist() for _ in range(_DRAWS)]
    orders = {"greedy": greedy_order(distance, rows, columns), "identity": list(range(classes))}
    found = {name: neighbour_similarity(distance, order, rows, columns) for name, order in orders.items()}
    found["random"] = mean(neighbour_similarity(distance, order, rows, columns) for order in draws)
    found["reversed"] = neighbour_similarity(distance, greedy_order(-distance, rows, columns), rows, columns)
    return found
