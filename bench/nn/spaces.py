"""Pixel spaces that exist, and a cache of fitted ones keyed by the content they were fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data import Spec, Split
from ..errors import unknown_name
from ..files import replacing
from ..keys import digest
from ..space import Space


@dataclass(frozen=True, eq=False)
class Standard(Space):
    """Per-channel standardisation, mean and standard deviation taken from the training images.

    Attributes:
        mean: (c,) float32.
        std: (c,) float32.
    """

    mean: Tensor
    std: Tensor
    name: ClassVar[str] = "standard"
    version: ClassVar[int] = 1

    @classmethod
    def fit(cls, train: Split) -> Self:
        """Take mean and standard deviation of every channel over all training pixels."""
        per_channel = train.images.transpose(0, 1).flatten(1).double() / 255.0
        return cls(per_channel.mean(1).float(), per_channel.std(1, correction=0).clamp_min(1e-6).float())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild from the cache."""
        return cls(tensors["mean"], tensors["std"])

    def tensors(self) -> dict[str, Tensor]:
        """Return the two vectors."""
        return {"mean": self.mean, "std": self.std}

    def transform(self, images: Tensor) -> Tensor:
        """Subtract the mean and divide by the standard deviation of each channel."""
        shape = (1, -1, 1, 1)
        return (images - self.mean.to(images).view(shape)) / self.std.to(images).view(shape)

    def inverse(self, images: Tensor) -> Tensor:
        """Undo ``transform`` exactly."""
        shape = (1, -1, 1, 1)
        return images * self.std.to(images).view(shape) + self.mean.to(images).view(shape)


@dataclass(frozen=True, eq=False)
class ZcaKip(Space):
    """Regularised ZCA whitening of KIP (Nguyen et al. 2021), as RaT-BPTT and PoDD use it.

    Every image loses its own mean and is scaled to unit norm. With E, V the eigenvalues and eigenvectors of the
    uncentred second moment XᵀX/n of the training images, W = V (E + 0.1·mean(E))^(-1/2) Vᵀ and an image x becomes xW.
    The per-image mean and norm are not stored, so ``inverse`` gives back the unit-norm image. The authors use a
    non-symmetric eigen-solver; the matrix is symmetric, so ``eigh`` is used here, in float64.

    Attributes:
        whiten: (d, d) float32, d = c·h·w.
        unwhiten: (d, d) float32, its inverse.
    """

    whiten: Tensor
    unwhiten: Tensor
    name: ClassVar[str] = "zca_kip"
    version: ClassVar[int] = 1

    @classmethod
    def fit(cls, train: Split) -> Self:
        """Fit on training images; d = 3072 takes about ten seconds of one core."""
        dimension = train.images[0].numel()
        moment = torch.zeros(dimension, dimension, dtype=torch.float64)
        for start in range(0, len(train), 4096):
            block = _unit_rows(train.images[start : start + 4096].double().flatten(1) / 255.0)
            moment.addmm_(block.T, block)
        values, vectors = torch.linalg.eigh(moment / len(train))
        values = values.clamp_min(0.0) + (0.1 * values.mean()).clamp_min(1e-12)  # never zero, even if all images are constant
        whiten = (vectors * values.rsqrt()) @ vectors.T
        unwhiten = (vectors * values.sqrt()) @ vectors.T
        return cls(whiten.float(), unwhiten.float())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild from the cache."""
        return cls(tensors["whiten"], tensors["unwhiten"])

    def tensors(self) -> dict[str, Tensor]:
        """Return the two matrices."""
        return {"whiten": self.whiten, "unwhiten": self.unwhiten}

    def transform(self, images: Tensor) -> Tensor:
        """Centre and normalise each image, then whiten."""
        return (_unit_rows(images.flatten(1)) @ self.whiten.to(images)).reshape(images.shape)

    def inverse(self, images: Tensor) -> Tensor:
        """Undo the whitening; the image comes back centred and of unit norm."""
        return (images.flatten(1) @ self.unwhiten.to(images)).reshape(images.shape)


def _unit_rows(rows: Tensor) -> Tensor:
    """Subtract each row's mean and divide by its norm; a constant row becomes zero, not NaN."""
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-8)


SPACES: dict[str, type[Space]] = {"standard": Standard, "zca_kip": ZcaKip}


def default_space(spec: Spec) -> str:
    """Return the space of a data set: ``zca_kip`` on colour images, as RaT-BPTT and PoDD use it, else ``standard``."""
    return "zca_kip" if spec.channels == 3 else "standard"


def fit_space(name: str, train: Split, cache: Path | None = None, data_hash: str = "") -> Space:
    """Fit the space called ``name`` on ``train``, or read it from ``cache`` if it was fitted on the same content.

    Args:
        name: key of ``SPACES``.
        train: the training split.
        cache: folder for fitted spaces; nothing is cached without one.
        data_hash: fingerprint of the data set, part of the cache's key.

    Raises:
        BenchError: no space has that name.
    """
    if name not in SPACES:
        raise unknown_name("pixel space", name, SPACES)
    kind = SPACES[name]
    if cache is None or train.images[0].numel() < 1024:  # small fits are faster than the file
        return kind.fit(train)
    file = cache / f"space-{name}-{digest([name, kind.version, data_hash, len(train)])}.safetensors"
    if file.is_file():
        return kind.from_tensors(load_file(file))
    space = kind.fit(train)
    with replacing(file) as scratch:
        save_file({key: value.contiguous() for key, value in space.tensors().items()}, scratch)
    return space
