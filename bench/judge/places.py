"""The rule for whole numbers of two bytes: they choose places of an image, and hold nothing else.

A byte has room for one pixel, two bytes for two. So a tensor of int16 has to be what a choice of frequencies or of pixels is:
for every class at most, some of the places of an image in ascending order. Its numbers are counted like all others.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..data import Spec
from ..errors import RejectedSet


def check_places(tensors: Mapping[str, Tensor], spec: Spec) -> None:
    """Look at the int16 tensors of a set that are neither images nor labels.

    Raises:
        RejectedSet: there are several, or one holds something else than a choice of places.
    """
    if len(tensors) > 1:
        raise RejectedSet(f"the tensors {', '.join(tensors)} are int16, and only one may choose places; store numbers as uint8")
    most = spec.height * spec.width
    for key, tensor in tensors.items():
        if tensor.dim() != 2 or len(tensor) > spec.classes:
            raise RejectedSet(
                f"tensor '{key}' is int16 {tuple(tensor.shape)}; a choice of places has at most a row for each of {spec.classes} classes"
            )
        if tensor.numel() and not (tensor.min() >= 0 and tensor.max() < most and bool((tensor.diff(dim=1) > 0).all())):
            raise RejectedSet(f"tensor '{key}' is int16; a choice of places has rows of ascending numbers from 0 to {most - 1}")
