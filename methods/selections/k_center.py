"""k-center (Sener & Savarese, ICLR 2018; greedy as Gonzalez 1985): images that leave no other far from all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import SELECTIONS, deterministic, on_features

from ._per_class import per_class


@SELECTIONS.register("k_center")
@on_features
@deterministic
def k_center(features: Tensor, labels: Tensor, slots: Tensor, generator: torch.Generator) -> Tensor:
    """Begin with the image nearest to the class mean, and add the one farthest from all chosen ones, again and again."""
    del generator  # the features decide
    return per_class(labels, slots, lambda members, wanted: farthest_first(features[members], wanted))


def farthest_first(features: Tensor, wanted: int) -> Tensor:
    """Return the positions (wanted,) of (k, d) features: the nearest to the mean, then always the farthest from those before.

    Ties go to the first.
    """
    seen = features.double()
    chosen = [int((seen - seen.mean(0)).square().sum(1).argmin())]
    nearest = torch.full((len(seen),), torch.inf, dtype=seen.dtype)  # squared distance to the nearest chosen one
    while len(chosen) < wanted:
        nearest = torch.minimum(nearest, (seen - seen[chosen[-1]]).square().sum(1))
        nearest[chosen] = -torch.inf  # copies of a chosen image are at distance 0, too
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)
