"""Linear bases: every image is a combination of a few shared ones (Deng & Russakovsky 2022, "Remember the Past")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Spec
from ..errors import BenchError
from ..parameterization import Role
from ..registry import PARAMETERIZATIONS
from .equal_classes import EqualClasses, RowLabels

_LEAST_SPREAD = 1e-3  # of a base next to that of the first; one without any would give its coefficients no gradient


@PARAMETERIZATIONS.register("bases")
class Bases(EqualClasses):
    """Images x_i = Up(Σ_k a_ik · b_k) of bases b_k that all classes share, and coefficients of every image.

    Bases may be smaller than an image; they are upsampled bilinearly, which is the same as upsampling their combinations.

    Tensors:
        bases: (b, c, h', w') float32, role image.
        coefficients: (n, b) float32, role other.
        labels: see ``EqualClasses``.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.decoders.bases import Bases
        >>> stored = Bases(Spec("toy", 2, (1, 8, 8), ("one", "other")), bases=3, per_class=5, size=(4, 4))
        >>> stored.write(torch.rand(10, 1, 8, 8), torch.arange(10) % 2)
        >>> stored.pixels, tuple(stored.decode().images.shape)  # 3·16 + 10·3
        (78, (10, 1, 8, 8))
    """

    name: ClassVar[str] = "bases"
    version: ClassVar[int] = 1
    roles: ClassVar[Mapping[str, Role]] = {"bases": "image", "coefficients": "other", "labels": "label"}

    def __init__(self, spec: Spec, bases: int, per_class: int, size: tuple[int, int] | None = None, labels: RowLabels = "order") -> None:
        """Make room for ``bases`` of ``size`` (height, width) and for the coefficients of ``per_class`` images of every class.

        Raises:
            BenchError: there is no base, no image, or no such form of labels.
        """
        super().__init__(spec, per_class, labels)
        self.size = size or (spec.height, spec.width)
        if min(bases, *self.size) < 1:
            raise BenchError(f"{bases} bases of {self.size} pixels hold nothing; ask for at least one of at least one pixel")
        self.bases = nn.Parameter(torch.zeros(bases, spec.channels, *self.size))
        self.coefficients = nn.Parameter(torch.zeros(len(self), bases))

    def config(self) -> dict[str, Any]:
        """Return numbers and size of the bases, images of a class, and form of the labels."""
        return {"bases": len(self.bases), "per_class": self.per_class, "size": list(self.size), "labels": self.label_form}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Bases:
        """Rebuild from ``config()``."""
        height, width = config["size"]
        return cls(spec, int(config["bases"]), int(config["per_class"]), (int(height), int(width)), config["labels"])

    @classmethod
    def shapes(cls, config: Mapping[str, Any], spec: Spec) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a config."""
        bases, images = config["bases"], config["per_class"] * spec.classes
        return {
            "bases": (bases, spec.channels, *config["size"]),
            "coefficients": (images, bases),
            **cls.label_shapes(config, spec),
        }

    def images_at(self, index: Tensor | None) -> Tensor:
        """Combine the upsampled bases into images (n, c, h, w)."""
        bases: Tensor = self.bases
        if self.size != (self.spec.height, self.spec.width):
            bases = F.interpolate(bases, (self.spec.height, self.spec.width), mode="bilinear", align_corners=False)
        coefficients: Tensor = self.coefficients if index is None else self.coefficients[index]
        return (coefficients @ bases.flatten(1)).unflatten(1, self.spec.shape)

    def store(self, images: Tensor) -> None:
        """Take the principal components of the images as bases and their projections as coefficients.

        Images are shrunk to the size of the bases by area averaging, if need be, and not centred: with USVᵀ the matrix of their
        numbers, bases are √S·Vᵀ and coefficients U·√S, the best approximation with so many bases.
        """
        if images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        # Full matrices have as many directions as there are numbers in a base, also where there are fewer images.
        flat, count = images.flatten(1).double(), len(self.bases)
        left, scale, right = torch.linalg.svd(flat, full_matrices=count > min(flat.shape))
        found = min(count, len(scale))
        spread = F.pad(scale[:found], (0, count - found)).clamp(min=max(float(scale[0]) * _LEAST_SPREAD, 1e-12)).sqrt()
        self.bases.copy_((spread[: len(right), None] * right[:count]).unflatten(1, self.bases.shape[1:]))
        self.coefficients.zero_()
        self.coefficients[:, :found] = (left[:, :found] * scale[:found] / spread[:found]).float()
