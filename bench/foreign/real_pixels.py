"""What real images of a data set look like in each pixel space: bounds, sizes, and how alike neighbouring pixels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..data import Dataset
from ..nn.spaces import SPACES, shared_space
from ..space import Space

_SAMPLE = 2000  # images, evenly spread over the training split


@dataclass(frozen=True)
class Look:
    """Images in numbers.

    Attributes:
        low: smallest number of every channel.
        high: largest number of every channel.
        size: root mean square of all numbers.
        likeness: correlation of a pixel with its right neighbour: the median over images.
        likeness_range: between which 98 % of the images lie.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    size: float
    likeness: float
    likeness_range: tuple[float, float]

    @property
    def bounds(self) -> str:
        """The bounds of every channel in words."""
        return ", ".join(f"{low:.3f} to {high:.3f}" for low, high in zip(self.low, self.high, strict=True))


def look_of(images: Tensor) -> Look:
    """Measure (n, c, h, w) images."""
    likeness = neighbour_likeness(images)
    return Look(
        low=tuple(images.amin((0, 2, 3)).tolist()),
        high=tuple(images.amax((0, 2, 3)).tolist()),
        size=float(images.square().mean().sqrt()),
        likeness=float(likeness.median()),
        likeness_range=(float(likeness.quantile(0.01)), float(likeness.quantile(0.99))),
    )


def neighbour_likeness(images: Tensor) -> Tensor:
    """Return the (n,) correlation between pixels and their right neighbours within each image.

    It is high in any space that only scales channels, and low in one that whitens. Where images are read in a wrong
    order of their numbers, it is near zero.
    """
    left, right = images[..., :-1].flatten(1).double(), images[..., 1:].flatten(1).double()
    left, right = left - left.mean(1, keepdim=True), right - right.mean(1, keepdim=True)
    scale = left.norm(dim=1) * right.norm(dim=1)
    return torch.where(scale > 1e-12, (left * right).sum(1) / scale.clamp_min(1e-12), torch.zeros_like(scale))


@dataclass
class RealPixels:
    """Real images of one data set, seen in its spaces.

    Attributes:
        dataset: under split ``paper``: released sets were made from all training images.
        folder: of prerequisites, where a large space is kept; without one it is fitted in memory.
    """

    dataset: Dataset
    folder: Path | None = None
    _spaces: dict[str, Space] = field(default_factory=dict)
    _looks: dict[str, Look] = field(default_factory=dict)

    def space(self, name: str) -> Space:
        """Return one of ``SPACES``, fitted."""
        if name not in self._spaces:
            self._spaces[name] = shared_space(name, self.dataset, self.folder)
        return self._spaces[name]

    def look(self, name: str) -> Look:
        """Return what real images look like in one of ``SPACES``, or as plain pixels (``rgb``)."""
        if name not in self._looks:
            sample = self._sample()
            self._looks[name] = look_of(sample if name not in SPACES else self.space(name).transform(sample))
        return self._looks[name]

    def mean(self) -> Sequence[float]:
        """Return the mean of every channel on the scale from 0 to 1."""
        mean: list[float] = self._sample().mean((0, 2, 3)).tolist()
        return mean

    def _sample(self) -> Tensor:
        count = len(self.dataset.train)
        return self.dataset.train.unit_images(torch.arange(0, count, max(1, -(-count // _SAMPLE))))
