"""Linear bases in numpy, term by term: a bilinear upsampling written as weights of neighbouring pixels, and one sum over bases.

Written from Deng & Russakovsky 2022 and the definition of bilinear interpolation between pixel centres.
"""

from __future__ import annotations

import numpy as np


def weights(small: int, large: int) -> np.ndarray:
    """Return (large, small) weights: output pixel y lies at (y + ½)·small/large − ½ among the centres of the small ones."""
    found = np.zeros((large, small))
    for y in range(large):
        place = min(max((y + 0.5) * small / large - 0.5, 0.0), small - 1.0)
        below = int(place)
        above = min(below + 1, small - 1)
        found[y, below] += 1.0 - (place - below)
        found[y, above] += place - below
    return found


def decode(bases: np.ndarray, coefficients: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the (n, c, h, w) images of bases (b, c, h', w') and coefficients (n, b)."""
    rows, columns = weights(bases.shape[2], size[0]), weights(bases.shape[3], size[1])
    return np.einsum("nb,bcij,yi,xj->ncyx", coefficients, bases, rows, columns)


def gradients(bases: np.ndarray, coefficients: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradients of Σ along·images with respect to bases and coefficients."""
    rows, columns = weights(bases.shape[2], along.shape[2]), weights(bases.shape[3], along.shape[3])
    of_bases = np.einsum("nb,ncyx,yi,xj->bcij", coefficients, along, rows, columns)
    return of_bases, np.einsum("bcij,ncyx,yi,xj->nb", bases, along, rows, columns)
