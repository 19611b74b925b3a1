"""How far two gradients of a network are apart: layer by layer, or number by number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bench.nn.networks import Parameters

DistanceName = Literal["cosine", "squared", "absolute"]
Layers = Literal["weights", "convolutions"]

_EPSILON = 1e-6  # the authors'; rows of zeros are at distance 1


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Return Σ_r (1 − ⟨a_r, b_r⟩ / (‖a_r‖·‖b_r‖ + ε)) over rows r, one for each output channel (DC, Zhao et al. 2021)."""
    a, b = one.flatten(1), other.flatten(1)
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return (1.0 - (a * b).sum(1) / (lengths + _EPSILON)).sum()


def squared(one: Tensor, other: Tensor) -> Tensor:
    """Return Σ (a − b)² (IDC on colour images, Kim et al. 2022)."""
    return (one - other).square().sum()


def absolute(one: Tensor, other: Tensor) -> Tensor:
    """Return Σ |a − b| (IDC on grey images)."""
    return (one - other).abs().sum()


_DISTANCES: dict[DistanceName, Callable[[Tensor, Tensor], Tensor]] = {"cosine": cosine, "squared": squared, "absolute": absolute}


def matched_names(parameters: Parameters, layers: Layers) -> list[str]:
    """Return the parameters whose gradients are compared: those of several dimensions, or convolutions' weights alone.

    Biases and the scales of norms, which have one dimension, never take part.
    """
    least = 4 if layers == "convolutions" else 2
    return [name for name, parameter in parameters.items() if parameter.dim() >= least]


def distance(name: DistanceName, layers: Layers, one: Parameters, other: Parameters) -> Tensor:
    """Return the distance of two gradients, summed over the layers that are compared; a scalar."""
    measure = _DISTANCES[name]
    return torch.stack([measure(one[key], other[key]) for key in matched_names(one, layers)]).sum()
