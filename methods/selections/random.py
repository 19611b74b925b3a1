"""Random selection: the reference of every other one."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import SELECTIONS

from ._per_class import per_class


@SELECTIONS.register("random")
def random(features: Tensor | None, labels: Tensor, slots: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one training image for every slot, without repetition as long as its class has enough."""
    del features
    return per_class(labels, slots, lambda members, _: torch.randperm(len(members), generator=generator))
