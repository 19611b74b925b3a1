"""The 8-bit round trip: what is left of a set when every floating number is stored in one byte."""

from __future__ import annotations

import torch
from torch import Tensor

from ..distilled import DistilledSet
from .decoding import rebuilt

_LEVELS = 255


def eight_bit(distilled: DistilledSet) -> DistilledSet:
    """Return the set with every floating tensor rounded to 256 levels of its own; integers stay as they are."""
    state = distilled.parameterization.state_dict()
    return rebuilt(distilled, {key: round_trip(tensor) for key, tensor in state.items()})


def round_trip(tensor: Tensor) -> Tensor:
    """Round to 256 evenly spaced levels from the smallest to the largest entry.

    No entry moves by more than half a level, ``(max - min) / 510``; a constant or integer tensor stays as it is.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return tensor.clone()
    wide = tensor.double()
    low, high = wide.min(), wide.max()
    if low == high:
        return tensor.clone()
    step = (high - low) / _LEVELS
    return (torch.round((wide - low) / step) * step + low).to(tensor.dtype)
