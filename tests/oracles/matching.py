"""Gradient and distribution matching by one autograd graph, layer by layer and class by class.

Written from the papers (DC: Zhao et al. 2021, equations 9 and 10; DM: Zhao & Bilen 2023, equation 4) on a network of its own:
two blocks of convolution, instance norm, ReLU and average pooling, and a linear layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def embed(weights: Weights, images: Tensor) -> Tensor:
    """Return the flat features of (n, c, h, w) images."""
    x = images
    for block in ("0", "1"):
        x = torch.nn.functional.conv2d(x, weights[f"convs.{block}.weight"], weights[f"convs.{block}.bias"], padding=1)
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt()
        x = x * weights[f"norms.{block}.weight"].view(1, -1, 1, 1) + weights[f"norms.{block}.bias"].view(1, -1, 1, 1)
        x = torch.nn.functional.avg_pool2d(x.clamp(min=0), 2)
    return x.reshape(len(x), -1)


def mean_loss(weights: Weights, images: Tensor, label: int, shares: Tensor | None = None) -> Tensor:
    """Return the mean of −log p(label), weighted by (n,) shares where these are given."""
    logits = embed(weights, images) @ weights["head.weight"].T + weights["head.bias"]
    losses = -(logits[:, label] - logits.logsumexp(1))
    return losses.mean() if shares is None else sum(w * loss for w, loss in zip(shares, losses, strict=True)) / sum(shares)


def row_distance(one: Tensor, other: Tensor) -> Tensor:
    """Sum 1 − cosine over output channels, one at a time."""
    total = one.new_zeros(())
    for a, b in zip(one.reshape(len(one), -1), other.reshape(len(other), -1), strict=True):
        total = total + 1 - (a @ b) / ((a @ a).sqrt() * (b @ b).sqrt() + 1e-6)
    return total


def gradient_distance(weights: Weights, real: dict[int, Tensor], images: dict[int, Tensor], kind: str = "cosine") -> Tensor:
    """Return the distance of the gradients of real and distilled images, summed over classes; differentiable by ``images``.

    Args:
        weights: leaves that require gradients.
        real: class -> (n, c, h, w).
        images: class -> (m, c, h, w).
        kind: ``cosine`` over all weights of more than one dimension, ``squared`` or ``absolute`` over those of convolutions.
    """
    total = weights["head.bias"].new_zeros(())
    for label, mine in images.items():
        there = torch.autograd.grad(mean_loss(weights, real[label], label), list(weights.values()))
        here = torch.autograd.grad(mean_loss(weights, mine, label), list(weights.values()), create_graph=True)
        for name, a, b in zip(weights, here, there, strict=True):
            if kind == "cosine" and name in ("convs.0.weight", "convs.1.weight", "head.weight"):
                total = total + row_distance(a, b)
            if kind != "cosine" and name in ("convs.0.weight", "convs.1.weight"):
                total = total + ((a - b) ** 2 if kind == "squared" else (a - b).abs()).sum()
    return total


def soft_gradient_distance(weights: Weights, real: dict[int, Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the cosine distance where an image takes part in every class by its share; differentiable by images and labels."""
    total = weights["head.bias"].new_zeros(())
    for label in real:
        there = torch.autograd.grad(mean_loss(weights, real[label], label), list(weights.values()))
        mine = mean_loss(weights, images, label, labels[:, label])
        here = torch.autograd.grad(mine, list(weights.values()), create_graph=True)
        for name, a, b in zip(weights, here, there, strict=True):
            if name in ("convs.0.weight", "convs.1.weight", "head.weight"):
                total = total + row_distance(a, b)
    return total


def soft_mean_distance(weights: Weights, real: dict[int, Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Return the squared distances of mean features where an image takes part in every class by its share."""
    total = weights["head.bias"].new_zeros(())
    seen = embed(weights, images)
    for label in real:
        mine = sum(w * f for w, f in zip(labels[:, label], seen, strict=True)) / labels[:, label].sum()
        total = total + ((embed(weights, real[label]).mean(0) - mine) ** 2).sum()
    return total


def mean_distance(weights: Weights, real: dict[int, Tensor], images: dict[int, Tensor]) -> Tensor:
    """Return the squared distances of mean features, summed over classes; differentiable by ``images``."""
    gaps = [embed(weights, real[label]).mean(0) - embed(weights, mine).mean(0) for label, mine in images.items()]
    return torch.stack([(gap**2).sum() for gap in gaps]).sum()
