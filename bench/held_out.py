"""Which training images validate under split ``dev``: the same for everybody, whatever order they are read in."""

from __future__ import annotations

import torch
from torch import Tensor

from .seeding import stream


def held_out(labels: Tensor, classes: int, name: str) -> Tensor:
    """Return the indices, ascending, of a stratified tenth: at least 5 of every class, and at most half of it.

    Args:
        labels: (n,) class of every training image.
        classes: number of classes.
        name: of the data set, on which the choice depends alone; parameters in brackets do not count, so that another size of
            the same images has the same ones.
    """
    chosen, plain = [], name.partition("[")[0]
    for label in range(classes):
        members = torch.nonzero(labels == label).flatten()
        count = min(max(5, len(members) // 10), len(members) // 2)
        order = torch.randperm(len(members), generator=stream("val split", plain, label))
        chosen.append(members[order[:count]])
    return torch.cat(chosen).sort().values
