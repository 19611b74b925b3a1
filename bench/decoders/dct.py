"""Images by their frequencies: a few coefficients of the discrete cosine transform (Shin et al. 2023, "FreD")."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..data import Spec
from ..errors import BenchError
from ..parameterization import Role
from ..registry import PARAMETERIZATIONS
from .equal_classes import EqualClasses, RowLabels

#: Places that an int16 can name.
MOST_PLACES = 2**15


def cosines(size: int, like: Tensor) -> Tensor:
    """Return the orthonormal DCT-II of so many numbers as a matrix (size, size): a row for each frequency.

    D_ux = s_u · cos(π·(2x + 1)·u / 2N) with s_0 = √(1/N) and s_u = √(2/N), so that D·Dᵀ = 1 and Dᵀ undoes D.

    Args:
        size: N.
        like: gives device and type.
    """
    places = torch.arange(size, dtype=torch.float64, device="cpu")
    matrix = torch.cos(math.pi / (2 * size) * places.unsqueeze(1) * (2 * places + 1)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2.0)
    return matrix.to(like)


def spectrum(images: Tensor) -> Tensor:
    """Return the two-dimensional DCT (..., h, w) of images (..., h, w)."""
    return cosines(images.shape[-2], images) @ images @ cosines(images.shape[-1], images).T


def inverse(frequencies: Tensor) -> Tensor:
    """Return the images (..., h, w) of a spectrum (..., h, w)."""
    return cosines(frequencies.shape[-2], frequencies).T @ frequencies @ cosines(frequencies.shape[-1], frequencies)


def lowest_first(height: int, width: int) -> Tensor:
    """Return all places of a spectrum (h·w,) by their frequency in cycles per image; equal ones by rows."""
    rows, columns = torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
    return (rows.unsqueeze(1).square() + columns.square()).flatten().argsort(stable=True)


@PARAMETERIZATIONS.register("dct")
class Frequencies(EqualClasses):
    """Images whose spectrum is zero but at a few places, the same ones for all images and channels of a class.

    A place is u·w + v of row u and column v of the spectrum. The transform is orthonormal, so a step along the gradient of all
    coefficients is the step along that of the pixels, and learning rates mean the same for both.

    Tensors:
        coefficients: (n, c, m) float32, role image.
        places: (C, m) int16, role other; ascending in every row.
        labels: see ``EqualClasses``.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.decoders.dct import Frequencies
        >>> stored = Frequencies(Spec("toy", 2, (1, 8, 8), ("one", "other")), frequencies=6, per_class=5)
        >>> stored.write(torch.full((10, 1, 8, 8), 0.5), torch.arange(10) % 2)
        >>> stored.pixels, round(stored.decode().images.mean().item(), 3)  # 10·6 + 2·6
        (72, 0.5)
    """

    name: ClassVar[str] = "dct"
    version: ClassVar[int] = 1
    roles: ClassVar[Mapping[str, Role]] = {"coefficients": "image", "places": "other", "labels": "label"}

    def __init__(self, spec: Spec, frequencies: int, per_class: int, labels: RowLabels = "order") -> None:
        """Make room for so many frequencies of ``per_class`` images of every class; at first these are the lowest ones.

        Raises:
            BenchError: there is no image, no such form of labels, no frequency, or not so many of them.
        """
        super().__init__(spec, per_class, labels)
        if not 1 <= frequencies <= spec.height * spec.width <= MOST_PLACES:
            raise BenchError(
                f"{frequencies} frequencies of images of {spec.height}x{spec.width} cannot be stored; ask for 1 to "
                f"{min(spec.height * spec.width, MOST_PLACES)}, of images of at most {MOST_PLACES} pixels"
            )
        self.coefficients = nn.Parameter(torch.zeros(len(self), spec.channels, frequencies))
        self.register_buffer("places", torch.zeros(spec.classes, frequencies, dtype=torch.int16))
        self.choose(lowest_first(spec.height, spec.width)[:frequencies].expand(spec.classes, -1))

    def config(self) -> dict[str, Any]:
        """Return the numbers of frequencies and of images of a class, and the form of the labels."""
        return {"frequencies": self.coefficients.shape[2], "per_class": self.per_class, "labels": self.label_form}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Frequencies:
        """Rebuild from ``config()``."""
        return cls(spec, int(config["frequencies"]), int(config["per_class"]), config["labels"])

    @classmethod
    def shapes(cls, config: Mapping[str, Any], spec: Spec) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a config."""
        images, frequencies = config["per_class"] * spec.classes, config["frequencies"]
        return {
            "coefficients": (images, spec.channels, frequencies),
            "places": (spec.classes, frequencies),
            **cls.label_shapes(config, spec),
        }

    @torch.no_grad()
    def choose(self, places: Tensor) -> None:
        """Take the frequencies at ``places`` (C, m) of every class, in any order."""
        self.get_buffer("places").copy_(places.sort(1).values)

    def images_at(self, index: Tensor | None) -> Tensor:
        """Put the coefficients at their places and transform back to images (n, c, h, w)."""
        coefficients: Tensor = self.coefficients if index is None else self.coefficients[index]
        empty = coefficients.new_zeros(*coefficients.shape[:2], self.spec.height * self.spec.width)
        full = empty.scatter_add(2, self._places(index), coefficients)
        return inverse(full.unflatten(2, (self.spec.height, self.spec.width)))

    def store(self, images: Tensor) -> None:
        """Take the images' coefficients at the chosen places: the best approximation with these frequencies."""
        self.coefficients.copy_(spectrum(images).flatten(2).gather(2, self._places(None).to(images.device)))

    def _places(self, index: Tensor | None) -> Tensor:
        """Return the places (n, c, m) int64 of the coefficients of some images."""
        places = self.get_buffer("places").long()
        owners = self.slots().to(places.device)
        return places[owners if index is None else owners[index]].unsqueeze(1).expand(-1, self.spec.channels, -1)
