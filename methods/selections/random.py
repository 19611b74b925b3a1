"""Random selection: the reference of every other one."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import SELECTIONS


@SELECTIONS.register("random")
def random(features: Tensor | None, labels: Tensor, slots: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one training image for every slot, without repetition as long as its class has enough."""
    del features
    chosen = []
    for label, wanted in zip(*slots.unique_consecutive(return_counts=True), strict=True):
        members = torch.nonzero(labels == label).flatten()
        order = torch.randperm(len(members), generator=generator)
        # All members come once before any comes again.
        chosen.append(members[order.repeat(-(-int(wanted) // len(members)))[:wanted]])
    return torch.cat(chosen)
