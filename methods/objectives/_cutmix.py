"""CutMix (Yun et al., ICCV 2019, arXiv 1905.04899): a box of another image, and its share of the label."""

from __future__ import annotations

import math

import torch

from bench import Batch


def cutmix(batch: Batch, chance: float, generator: torch.Generator) -> Batch:
    """Paste, with some chance, one box of the images in another order into the images.

    The share of the image that is kept is uniform in [0, 1], which is Beta(1, 1); the box is cut off at the border, and
    labels are mixed by the share of pixels that in fact stays.

    Args:
        batch: images (n, c, h, w) and labels (n, k).
        chance: that anything happens.
        generator: a CPU generator.
    """
    happens, kept = torch.rand(2, generator=generator).tolist()
    if happens >= chance:
        return batch
    order = torch.randperm(len(batch.images), generator=generator).to(batch.images.device)
    height, width = batch.images.shape[2:]
    rows, columns = (_cut(size, math.sqrt(1.0 - kept), generator) for size in (height, width))
    images = batch.images.clone()
    images[:, :, rows, columns] = batch.images[order][:, :, rows, columns]
    share = 1.0 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return Batch(images, share * batch.labels + (1.0 - share) * batch.labels[order])


def _cut(size: int, share: float, generator: torch.Generator) -> slice:
    """Return a range of about ``share`` of ``size`` around a uniform centre, inside the image."""
    centre, half = int(torch.randint(size, (1,), generator=generator)), int(size * share) // 2
    return slice(max(0, centre - half), min(size, centre + half))
