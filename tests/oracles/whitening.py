"""ZCA whitenings in plain numpy, written from their definitions and without a look at the suite's own code.

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


def kornia(rows: Rows) -> tuple[Rows, Rows]:
    """Return mean and W of kornia's ``ZCAWhitening(eps=0.1, unbiased=True)``: W^-2 = cov + 0.1 I, divided by n - 1."""
    mean = rows.sum(0) / len(rows)
    return mean, _inverse_root((rows - mean).T @ (rows - mean) / (len(rows) - 1), 0.1)


def frepo(images: Rows) -> tuple[Rows, Rows, Rows]:
    """Return the standardised rows of (n, c, h, w) images, their mean, and FRePo's W: W^-2 = cov + 0.1 tr(cov)/d I."""
    channels = images.transpose(1, 0, 2, 3).reshape(images.shape[1], -1)
    middle, spread = (numbers.reshape(1, -1, 1, 1) for numbers in (channels.mean(1), channels.std(1)))
    rows = ((images - middle) / spread).reshape(len(images), -1)
    covariance = np.cov(rows, rowvar=False, bias=True)
    return rows, rows.mean(0), _inverse_root(covariance, 0.1 * np.trace(covariance) / len(covariance))


def _inverse_root(matrix: Rows, ridge: float) -> Rows:
    """Return (M + r I)^(-1/2) by the Denman-Beavers iteration, which needs no eigenvectors."""
    root, inverse = matrix + ridge * np.eye(len(matrix)), np.eye(len(matrix))
    for _ in range(40):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    return inverse
