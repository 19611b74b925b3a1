"""What objectives share that unroll a student's training: many inner batches decoded and augmented in one call, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench import Batch, Parameterization
from bench.nn.augment import Augmentation, draw, join


def decoded(stored: Parameterization, index: Tensor | None, steps: int) -> tuple[Tensor, Tensor]:
    """Decode the batches of so many steps.

    Args:
        stored: the distilled set.
        index: (steps, count) which images each step takes, or ``None`` for all of them at every step.
        steps: how many.

    Returns:
        Images (steps, count, c, h, w) and labels (steps, count, k).
    """
    if index is None:
        # Every step sees the whole set: it is decoded once, and steps are views of it.
        batch = stored.decode(None)
        return batch.images.expand(steps, *batch.images.shape), batch.labels.expand(steps, *batch.labels.shape)
    batch = stored.decode(index.flatten())
    return batch.images.unflatten(0, index.shape), batch.labels.unflatten(0, index.shape)


def augmented(images: Tensor, strategy: str, stream: torch.Generator) -> Tensor:
    """Augment (steps, count, c, h, w) images: one operation for every step, parameters of their own for every image."""
    steps, count, channels, height, width = images.shape
    shape = (channels, height, width)
    drawn = join([draw(strategy, count, shape, stream) for _ in range(steps)], count, shape)
    return images if drawn == Augmentation() else drawn(images.flatten(0, 1)).unflatten(0, (steps, count))


def carried_back(
    stored: Parameterization, batches: Sequence[Batch], images: Sequence[Tensor], labels: Sequence[Tensor | None]
) -> dict[str, Tensor]:
    """Carry the gradients of the batches' images and labels back into the stored tensors."""
    roots = [batch.images for batch in batches] + [b.labels for b, g in zip(batches, labels, strict=True) if g is not None]
    trained = stored.trained()
    flowing = torch.autograd.grad(roots, list(trained.values()), [*images, *(g for g in labels if g is not None)], allow_unused=True)
    return {name: g for name, g in zip(trained, flowing, strict=True) if g is not None}
