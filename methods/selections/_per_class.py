"""What selections share that choose class by class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def per_class(labels: Tensor, slots: Tensor, order: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Fill the slots of every class with the first of its images in some order; all come once before any comes again.

    Args:
        labels: (n,) classes of the training images.
        slots: (m,) wanted classes; equal ones are consecutive.
        order: from the (k,) indices of a class's images and the number w of them that is wanted, at most k, it returns
            at least w different positions in 0..k-1, the best first.

    Returns:
        (m,) indices of training images.

    Raises:
        ValueError: a wanted class has no image.
    """
    chosen = []
    for label, wanted in zip(*slots.unique_consecutive(return_counts=True), strict=True):
        members = torch.nonzero(labels == label).flatten()
        if not len(members):
            raise ValueError(f"class {int(label)} has no training image to choose")
        best = members[order(members, min(int(wanted), len(members)))]
        chosen.append(best.repeat(-(-int(wanted) // len(best)))[:wanted])
    return torch.cat(chosen)
