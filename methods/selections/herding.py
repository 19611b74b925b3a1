"""Herding (Welling, ICML 2009; per class as in iCaRL, Rebuffi et al., CVPR 2017): images whose running mean follows the class's."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import SELECTIONS, deterministic, on_features

from ._per_class import per_class


@SELECTIONS.register("herding")
@on_features
@deterministic
def herding(features: Tensor, labels: Tensor, slots: Tensor, generator: torch.Generator) -> Tensor:
    """Add the image that brings the mean of the chosen features nearest to the class mean, again and again."""
    del generator  # the features decide
    return per_class(labels, slots, lambda members, wanted: follow_the_mean(features[members], wanted))


def follow_the_mean(features: Tensor, wanted: int) -> Tensor:
    """Return the positions (wanted,) of (k, d) features such that the mean of the first ones stays near the mean of all.

    The t-th minimises the length of t times the mean, less the sum of those before and itself; ties go to the first.
    """
    seen = features.double()
    mean, total = seen.mean(0), torch.zeros(seen.shape[1], dtype=seen.dtype)
    chosen: list[int] = []
    for count in range(1, wanted + 1):
        gap = (count * mean - total - seen).square().sum(1)
        gap[chosen] = torch.inf
        chosen.append(int(gap.argmin()))
        total += seen[chosen[-1]]
    return torch.tensor(chosen)
