"""What objectives share that compare real and distilled images class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import Batch, Parameterization
from bench.nn.augment import draw


@dataclass(frozen=True)
class ClassPart:
    """The distilled images of one class.

    Attributes:
        label: the class.
        index: (m,) which images belong to it, wholly or in part.
        images: (m, c, h, w), differentiable.
        weights: (m,) the class's share of their labels, which sum to one; differentiable where labels are.
    """

    label: int
    index: Tensor
    images: Tensor
    weights: Tensor

    def targets(self, classes: int) -> Tensor:
        """Return (m, classes) labels whose mean cross-entropy is the weighted mean of −log p of this class."""
        column = torch.zeros(classes, dtype=self.weights.dtype, device=self.weights.device)
        column[self.label] = len(self.weights)
        return self.weights.unsqueeze(1) * column


def class_parts(batch: Batch, most: int, generator: torch.Generator) -> Iterator[ClassPart]:
    """Take a decoded set apart by class: an image belongs to every class that has a part in its label.

    A hard-labelled set is thus cut into its classes, and every image weighs the same. Classes without any share are left
    out.

    Args:
        batch: the decoded set, labels not negative.
        most: at most so many images of a class, drawn at random; 0 takes all.
        generator: for that draw.
    """
    shares = batch.labels.detach()
    for label in range(shares.shape[1]):
        index = torch.nonzero(shares[:, label] > 0).flatten()
        if 0 < most < len(index):
            index = index[torch.randperm(len(index), generator=generator)[:most].to(index.device)]
        if len(index):
            column = batch.labels[index, label]
            yield ClassPart(label, index, batch.images[index], column / column.sum())


def siamese(strategy: str, shape: tuple[int, int, int], generator: torch.Generator, *groups: Tensor) -> list[Tensor]:
    """Augment groups of (n, c, h, w) images by one operation with one set of parameters (DSA, Zhao & Bilen 2021)."""
    drawn = draw(strategy, 1, shape, generator)
    return [drawn.repeated(len(images))(images) for images in groups]


@dataclass(frozen=True)
class Leaves:
    """A decoded set whose gradients are gathered class by class and then carried back in one go.

    Decoding is differentiated once, whatever the number of classes.

    Attributes:
        batch: images and labels as leaves of the graphs of the classes.
        decoded: the same, as they hang on the stored tensors.
    """

    batch: Batch
    decoded: Batch

    @classmethod
    def of(cls, stored: Parameterization) -> Leaves:
        """Decode the whole set."""
        decoded = stored.decode(None)
        images, labels = (part.detach().requires_grad_(part.requires_grad) for part in (decoded.images, decoded.labels))
        return cls(Batch(images, labels), decoded)

    def carried_back(self, stored: Parameterization) -> dict[str, Tensor]:
        """Return the gradients of the stored tensors, from what the leaves have gathered in ``grad``."""
        pairs = [(self.decoded.images, self.batch.images.grad), (self.decoded.labels, self.batch.labels.grad)]
        known = [(root, gradient) for root, gradient in pairs if gradient is not None]
        trained = stored.trained()
        flowing = torch.autograd.grad([r for r, _ in known], list(trained.values()), [g for _, g in known], allow_unused=True)
        return {name: gradient for name, gradient in zip(trained, flowing, strict=True) if gradient is not None}
