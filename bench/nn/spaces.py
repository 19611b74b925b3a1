"""Pixel spaces that exist, and the prerequisite that holds a large one, which takes too long to be fitted in every cell."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data import Dataset, Spec, Split
from ..errors import unknown_name
from ..fields import named_in
from ..keys import digest
from ..prerequisite import Need, Prerequisite, Workshop
from ..prerequisite_store import PrerequisiteStore, ensure
from ..registry import PREREQUISITES
from ..space import Space
from .whitening import mean_image, spectrum

_LARGE = 1024  # numbers of an image from which on a whitening is kept
_FILE = "space.safetensors"
_BLOCK = 4096  # images whose pixels are counted at a time
_LEAST_NORM = 1e-8


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
        """Take mean and standard deviation of every channel over all training pixels, exactly: a pixel has 256 values.

        Counting them needs no copy of the images as floats.
        """
        moments = [_moments(train.images[:, channel]) for channel in range(train.images.shape[1])]
        means, stds = (torch.tensor(column, dtype=torch.float64) for column in zip(*moments, strict=True))
        return cls(means.float(), stds.clamp_min(1e-6).float())

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
    The per-image mean and norm are not stored, so ``inverse`` gives back the unit-norm image: a picture with the
    contrast and brightness of none. The authors use a non-symmetric eigen-solver; the matrix is symmetric, so a
    symmetric one is used here, in float64.

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
        """Fit on training images; d = 3072 takes about ten seconds of one core, the time grows with d³."""
        found = spectrum(train.images, _unit_rows_in_place, len(train))
        return cls(*found.whitening((0.1 * found.mean).clamp_min(1e-12)))  # never zero, even if all images are constant

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


@dataclass(frozen=True, eq=False)
class _CentredZca(Space):
    """Whitening of pixels that lose the mean image of the training data: z = ((x - m) / s) W, which is undone exactly.

    Attributes:
        mean: (d,) float32, m, the mean training image.
        scale: (d,) float32, s.
        whiten: (d, d) float32, W.
        unwhiten: (d, d) float32, its inverse.
    """

    mean: Tensor
    scale: Tensor
    whiten: Tensor
    unwhiten: Tensor

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild from the cache."""
        return cls(*(tensors[name] for name in ("mean", "scale", "whiten", "unwhiten")))

    def tensors(self) -> dict[str, Tensor]:
        """Return the two vectors and the two matrices."""
        return {"mean": self.mean, "scale": self.scale, "whiten": self.whiten, "unwhiten": self.unwhiten}

    def transform(self, images: Tensor) -> Tensor:
        """Subtract the mean image, scale, and whiten."""
        rows = (images.flatten(1) - self.mean.to(images)) / self.scale.to(images)
        return (rows @ self.whiten.to(images)).reshape(images.shape)

    def inverse(self, images: Tensor) -> Tensor:
        """Undo ``transform`` exactly."""
        rows = images.flatten(1) @ self.unwhiten.to(images)
        return (rows * self.scale.to(images) + self.mean.to(images)).reshape(images.shape)


class ZcaKornia(_CentredZca):
    """ZCA whitening as kornia's ``ZCAWhitening(eps=0.1)`` has it, which MTT, TESLA and FTD use.

    Plain pixels from 0 to 1 lose the mean image. With S, U the eigenvalues and eigenvectors of the covariance of the
    training images, divided by n - 1, W = U (S + 0.1)^(-1/2) Uᵀ. The ridge is absolute: directions whose eigenvalue is far
    below 0.1, as most are of natural images, are all stretched by about √10 and stay as unequal as they were.
    """

    name: ClassVar[str] = "zca_kornia"
    version: ClassVar[int] = 1

    @classmethod
    def fit(cls, train: Split) -> Self:
        """Fit on training images; as slow as ``zca_kip``."""
        mean = mean_image(train.images)
        found = spectrum(train.images, lambda pixels: pixels.sub_(mean), max(1, len(train) - 1))
        return cls(mean.float(), torch.ones(len(mean)), *found.whitening(torch.tensor(0.1, dtype=torch.float64)))


class ZcaFrepo(_CentredZca):
    """Regularised ZCA whitening of FRePo (Zhou et al. 2022), which RCIG uses, too.

    Pixels are standardised per channel, as in ``standard``, and lose the mean image. With E, V the eigenvalues and
    eigenvectors of their covariance, divided by n, W = V (E + 0.1·mean(E))^(-1/2) Vᵀ.
    """

    name: ClassVar[str] = "zca_frepo"
    version: ClassVar[int] = 1

    @classmethod
    def fit(cls, train: Split) -> Self:
        """Fit on training images; as slow as ``zca_kip``."""
        std = Standard.fit(train).std.double()
        mean, scale = mean_image(train.images), std.repeat_interleave(train.images[0, 0].numel())
        # The mean of the standardised images is the standardised mean image, so both steps are one.
        found = spectrum(train.images, lambda pixels: pixels.sub_(mean).div_(scale), len(train))
        return cls(mean.float(), scale.float(), *found.whitening((0.1 * found.mean).clamp_min(1e-12)))


def _unit_rows(rows: Tensor) -> Tensor:
    """Subtract each row's mean and divide by its norm; a constant row becomes zero, not NaN."""
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(_LEAST_NORM)


def _unit_rows_in_place(rows: Tensor) -> Tensor:
    """Do what ``_unit_rows`` does, but in place: in float64 a block of CIFAR-10 is as large as the moment."""
    rows.sub_(rows.mean(1, keepdim=True))
    return rows.div_(rows.norm(dim=1, keepdim=True).clamp_min_(_LEAST_NORM))


def _moments(channel: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation of (n, h, w) uint8 pixels on the scale from 0 to 1."""
    counts = torch.zeros(256, dtype=torch.int64)
    for pixels in channel.split(_BLOCK):
        counts += torch.bincount(pixels.flatten(), minlength=256)
    count, total, squares = channel.numel(), 0, 0
    for value, number in enumerate(counts.tolist()):
        total, squares = total + value * number, squares + value * value * number
    # In whole numbers, so that the difference of two large ones is exact.
    return total / (255 * count), math.sqrt(count * squares - total * total) / (255 * count)


SPACES: dict[str, type[Space]] = {kind.name: kind for kind in (Standard, ZcaKip, ZcaKornia, ZcaFrepo)}


def default_space(spec: Spec) -> str:
    """Return the space of a data set: ``zca_kip`` on colour images, as RaT-BPTT and PoDD use it, else ``standard``."""
    return "zca_kip" if spec.channels == 3 else "standard"


def fit_space(name: str, train: Split) -> Space:
    """Fit the space called ``name`` on ``train``, in memory.

    Raises:
        BenchError: no space has that name.
    """
    return _known(name).fit(train)


def space_need(name: str) -> Need:
    """Return the prerequisite that a large fitted space is."""
    return Need(FittedSpace.name, {"space": name})


def needs_of_space(name: str, spec: Spec) -> tuple[Need, ...]:
    """Return what a plan announces for a pixel space: nothing where fitting it is faster than reading a file.

    Raises:
        BenchError: no space has that name.
    """
    return (space_need(name),) if _is_shared(name, spec.shape) else ()


def open_space(name: str, train: Split, find: Callable[[Need], Path]) -> Space:
    """Return a pixel space as a contestant gets it: the shared one if the plan announced it, else fitted here in memory.

    Args:
        name: key of ``SPACES``.
        train: the training split.
        find: opens an announced prerequisite, and raises LookupError for another one.

    Raises:
        BenchError: no space has that name, or an announced one is missing or damaged.
    """
    if _is_shared(name, train.images.shape[1:]):
        with suppress(LookupError):
            return _read_space(name, find(space_need(name)))
    return fit_space(name, train)


def shared_space(name: str, dataset: Dataset, folder: Path | None) -> Space:
    """Return a pixel space as the host gets it: a large one is built in the folder of prerequisites if it is not there.

    Args:
        name: key of ``SPACES``.
        dataset: its training split is what the space is fitted on.
        folder: of prerequisites; without one the space is fitted in memory.

    Raises:
        BenchError: no space has that name.
    """
    if folder is None or not _is_shared(name, dataset.spec.shape):
        return fit_space(name, dataset.train)
    store = PrerequisiteStore(folder)
    space = _read_space(name, ensure(space_need(name), dataset, store).path)
    for damage in store.warnings:
        warnings.warn(damage, RuntimeWarning, stacklevel=2)
    return space


@PREREQUISITES.register("space")
@dataclass(frozen=True)
class FittedSpace(Prerequisite):
    """A large pixel space, fitted once on the CPU, where it is the same everywhere.

    Attributes:
        space: key of ``SPACES``.
    """

    name: ClassVar[str] = "space"

    space: Annotated[str, named_in("pixel space", SPACES)]

    def disk_bytes(self, spec: Spec) -> int | None:
        """Return the size of the two matrices of a whitening, there and back."""
        return None if _known(self.space) is Standard else 2 * 4 * math.prod(spec.shape) ** 2

    def build(self, workshop: Workshop) -> None:
        """Write ``space.safetensors``."""
        space = fit_space(self.space, workshop.train)
        save_file({key: value.contiguous() for key, value in space.tensors().items()}, workshop.folder / _FILE)

    def key(self, seed: int, data_hash: str) -> str:
        """Let another version of the space be another prerequisite."""
        return digest([super().key(seed, data_hash), _known(self.space).version])


def _known(name: str) -> type[Space]:
    if name not in SPACES:
        raise unknown_name("pixel space", name, SPACES)
    return SPACES[name]


def _is_shared(name: str, shape: Sequence[int]) -> bool:
    """Tell whether reading a fitted space is faster than fitting it."""
    return _known(name) is not Standard and math.prod(shape) >= _LARGE


def _read_space(name: str, folder: Path) -> Space:
    return _known(name).from_tensors(load_file(folder / _FILE))
