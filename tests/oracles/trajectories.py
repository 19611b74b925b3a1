"""Trajectory matching by one autograd graph of the whole student.

Written from the paper (Cazenavette et al. 2022, equation 2 and algorithm 1) on the network of ``matching``: plain SGD, one parameter at
a time, with every step's graph kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .matching import Weights, embed


def soft_loss(weights: Weights, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of −Σ_c y_c log p_c, image by image."""
    logits = embed(weights, images) @ weights["head.weight"].T + weights["head.bias"]
    return sum(-(y @ (z - z.logsumexp(0))) for y, z in zip(labels, logits, strict=True)) / len(images)


def trained(weights: Weights, batches: Sequence[tuple[Tensor, Tensor]], rate: Tensor | float) -> Weights:
    """Return what a network is after a step of SGD on every batch; differentiable by weights, batches and rate."""
    for images, labels in batches:
        slopes = torch.autograd.grad(soft_loss(weights, images, labels), list(weights.values()), create_graph=True)
        weights = {name: w - rate * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}
    return weights


def distance(start: Weights, target: Weights, batches: Sequence[tuple[Tensor, Tensor]], rate: Tensor) -> Tensor:
    """Return ‖θ_N − θ*‖² / ‖θ_0 − θ*‖² of a student that starts at ``start``, whose numbers must require gradients."""
    end = trained(start, batches, rate)
    left = sum(((end[name] - target[name]) ** 2).sum() for name in target)
    return left / sum(((start[name].detach() - target[name]) ** 2).sum() for name in target)
