"""ZCA whitening "KIP" in plain numpy, written from its definition and without a look at the suite's own code.

With a generalised inverse square root by singular values of the data instead of eigenvectors of the moment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def unit_rows(rows: Rows) -> Rows:
    out = np.empty_like(rows)
    for i, row in enumerate(rows):
        centred = row - row.sum() / row.size
        size = np.sqrt((centred**2).sum())
        out[i] = centred / size if size > 0 else 0.0
    return out


def kip_matrix(rows: Rows) -> Rows:
    """Return W with W^-2 = X'X/n + 0.1 * mean eigenvalue * I, X being the centred unit rows."""
    x = unit_rows(rows)
    _, singular, directions = np.linalg.svd(x, full_matrices=True)
    eigenvalues = np.zeros(rows.shape[1])
    eigenvalues[: singular.size] = singular**2 / len(x)
    ridge = 0.1 * eigenvalues.sum() / eigenvalues.size
    return directions.T @ np.diag(1.0 / np.sqrt(eigenvalues + ridge)) @ directions
