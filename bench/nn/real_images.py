"""Real images as a source of minibatches: they stay 8-bit and become floats as they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Batch, Split
from ..space import Space


@dataclass(frozen=True)
class RealImages:
    """A split that ``train_students`` can draw from, without a float copy of it.

    Attributes:
        split: the images and their classes.
        classes: number of classes, for one-hot labels.
        space: what the images are seen in.
        device: where the batches are put.
    """

    split: Split
    classes: int
    space: Space
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.split.images.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        """Number of images."""
        return len(self.split)

    def take(self, index: Tensor) -> Batch:
        """Return the images at ``index`` (n,) as the student sees them, with one-hot labels."""
        images = self.space.transform(self.split.unit_images(index).to(self.device))
        labels = F.one_hot(self.split.labels[index], self.classes).float()
        return Batch(images, labels.to(self.device))
