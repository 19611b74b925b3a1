"""ZCA whitening: eigenvectors of the second moment of images, and the matrices made of them, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_WHOLE = 3072  # numbers of an image up to which matrices are made in one piece: a CIFAR image
_BLOCK = 4096  # images of that size that are floats at a time; as many numbers of larger ones
_PIECE = 512  # rows of a larger matrix that are made at a time

#: Turns (n, d) float64 pixels from 0 to 1 into the rows whose second moment is taken; it may work in place.
Prepare = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of a second moment XᵀX/n of (n, d) rows, float64.

    Attributes:
        values: (k,), ascending; the other d - k are zero.
        vectors: (d, k), their eigenvectors as columns. With k < d the directions in which no row lies are left out.
    """

    values: Tensor
    vectors: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of all d eigenvalues."""
        return self.values.mean() if len(self.values) == len(self.vectors) else self.values.sum() / len(self.vectors)

    def whitening(self, ridge: Tensor) -> tuple[Tensor, Tensor]:
        """Return V (E + r)^(-1/2) Vᵀ and its inverse V (E + r)^(1/2) Vᵀ, two (d, d) float32.

        Args:
            ridge: r > 0, added to every eigenvalue.
        """
        values = self.values.clamp_min(0.0) + ridge
        return self._power(values.rsqrt(), ridge.rsqrt()), self._power(values.sqrt(), ridge.sqrt())

    def _power(self, scale: Tensor, rest: Tensor) -> Tensor:
        """Return V diag(scale) Vᵀ, where directions that were left out are scaled by ``rest``."""
        dimension, found = self.vectors.shape
        if found < dimension:
            scale = scale - rest
        made = torch.empty(dimension, dimension)
        for rows, right in _upper(dimension):
            piece = (self.vectors[rows] * scale) @ self.vectors[right].T
            if found < dimension:
                piece.diagonal().add_(rest)
            made[rows, right] = piece.float()
            if len(piece) < dimension:
                made[right, rows] = piece.float().T
        return made


def spectrum(images: Tensor, prepare: Prepare, divisor: int) -> Spectrum:
    """Return the spectrum of the second moment XᵀX/divisor of images.

    The largest matrix is (d, d), or that of the images among each other where there are few of them, and there are two
    of it at a time: for 64x64x3 = 12,288 numbers that is 2.4 GB.

    Args:
        images: (n, c, h, w) uint8.
        prepare: makes the rows of X of the (m, d) pixels of some images.
        divisor: what the sum is divided by.
    """
    count, dimension = len(images), images[0].numel()
    if dimension > _WHOLE and 2 * count <= dimension:
        return _spectrum_of_few(torch.cat(list(_rows(images, prepare))), divisor)
    moment = torch.zeros(dimension, dimension, dtype=torch.float64)
    for rows in _rows(images, prepare):
        for left, right in _upper(dimension):
            moment[left, right].addmm_(rows[:, left].T, rows[:, right])
        del rows  # before the next block is made
    return Spectrum(*_eigenvectors(moment.div_(divisor)))


def _spectrum_of_few(rows: Tensor, divisor: int) -> Spectrum:
    """Return the spectrum of XᵀX/divisor from that of XXᵀ/divisor, which is smaller and has the same eigenvalues.

    With XXᵀ u = e u, Xᵀu is an eigenvector of XᵀX for e and has the length √e.
    """
    values, vectors = torch.linalg.eigh(rows @ rows.T / divisor)
    seen = values > 1e-12 * values[-1].clamp_min(1e-300)  # below is rounding: rows that were centred are dependent
    return Spectrum(values[seen], (rows.T @ vectors[:, seen]) / (values[seen] * divisor).sqrt())


def _eigenvectors(moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and eigenvectors of a (d, d) float64 matrix whose upper triangle is given; it is overwritten.

    LAPACK's divide and conquer, which PyTorch calls, needs four times the matrix. Beyond the size of a CIFAR image its
    relatively robust representations take over, with twice the matrix.
    """
    if len(moment) <= _WHOLE:
        found = torch.linalg.eigh(moment)
        return found.eigenvalues, found.eigenvectors
    from scipy.linalg import eigh  # here, because it takes a while to import

    # Fortran's columns are our rows, so to LAPACK our upper triangle is the lower one, and nothing has to be copied.
    values, vectors = eigh(moment.numpy().T, lower=True, overwrite_a=True, check_finite=False, driver="evr")
    return torch.from_numpy(values), torch.from_numpy(vectors)


def mean_image(images: Tensor) -> Tensor:
    """Return the (d,) float64 mean of (n, c, h, w) uint8 images, on the scale from 0 to 1."""
    total = torch.zeros(images[0].numel(), dtype=torch.float64)
    for pixels in _pixels(images):
        total += pixels.sum(0)
    return total / len(images)


def _pixels(images: Tensor) -> Iterator[Tensor]:
    """Yield (m, d) float64 pixels from 0 to 1 of one block of (n, c, h, w) uint8 images after another."""
    dimension = images[0].numel()
    for block in images.split(_BLOCK if dimension <= _WHOLE else _BLOCK * _WHOLE // dimension):
        yield block.flatten(1).double().div_(255.0)


def _rows(images: Tensor, prepare: Prepare) -> Iterator[Tensor]:
    return map(prepare, _pixels(images))


def _upper(dimension: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the pieces that cover the upper triangle of a (d, d) matrix; a small one is one piece."""
    size = dimension if dimension <= _WHOLE else _PIECE
    for start in range(0, dimension, size):
        yield slice(start, start + size), slice(start, dimension)
