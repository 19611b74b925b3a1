"""The pixel space a set lives in: coordinates in which networks see images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from torch import Tensor

from .data import Split


class Space(ABC):
    """A fitted change of coordinates between plain [0, 1] pixels and what a network sees.

    It is fitted on training images only, by ``fit``, and is named and versioned in every artefact, so that the judge
    can apply the same one to test images.

    Attributes:
        name: as written in manifests and on the command line.
        version: raised when the same training images give other coordinates.

    Example:
        >>> import torch
        >>> from bench import Split
        >>> from bench.nn.spaces import SPACES
        >>> train = Split(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
        >>> space = SPACES["standard"].fit(train)
        >>> seen = space.transform(train.unit_images())
        >>> bool(seen.mean().abs() < 1e-5), torch.allclose(space.inverse(seen), train.unit_images(), atol=1e-6)
        (True, True)
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @classmethod
    @abstractmethod
    def fit(cls, train: Split) -> Self:
        """Fit on training images."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild a fitted space from ``tensors()``."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the fitted numbers, for the cache."""

    @abstractmethod
    def transform(self, images: Tensor) -> Tensor:
        """Map (n, c, h, w) pixels in [0, 1] to coordinates of this space, differentiably."""

    @abstractmethod
    def inverse(self, images: Tensor) -> Tensor:
        """Map coordinates of this space back to pixels, as far as the transform keeps them."""
