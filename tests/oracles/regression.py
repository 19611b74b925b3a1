"""Kernel ridge regression on the features of a network without norms, in double precision and by one autograd graph.

Written from the paper (FRePo: Zhou et al. 2022, equations 3 and 4, and the label margin of its code): sums over images and
classes stand as loops, and the regression is solved by elimination where the suite has a Cholesky factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def embed(weights: Weights, images: Tensor) -> Tensor:
    """Return the flat features of (n, c, h, w) images: convolutions, ReLU and average pooling."""
    x = images.double()
    for block in ("0", "1"):
        x = torch.nn.functional.conv2d(x, weights[f"convs.{block}.weight"].double(), weights[f"convs.{block}.bias"].double(), padding=1)
        x = torch.nn.functional.avg_pool2d(x.clamp(min=0), 2)
    return x.reshape(len(x), -1)


def predicted(weights: Weights, images: Tensor, labels: Tensor, real: Tensor, ridge: float = 1e-6) -> Tensor:
    """Return what regression on (n, c, h, w) images with (n, k) labels predicts for real images."""
    features, there = embed(weights, images), embed(weights, real)
    kernel = torch.stack([torch.stack([(a * b).sum() for b in features]) for a in features])
    between = torch.stack([torch.stack([(a * b).sum() for b in features]) for a in there])
    mean_of_diagonal = sum(kernel[i, i] for i in range(len(features))) / len(features)
    return between @ torch.linalg.solve(kernel + ridge * mean_of_diagonal * torch.eye(len(features), dtype=kernel.dtype), labels.double())


def margin(labels: Tensor) -> Tensor:
    """Return how far the first of the sorted targets is above the second, at most one over the classes, in the mean of rows."""
    total = labels.new_zeros((), dtype=torch.float64)
    for row in labels.double():
        ordered = row.sort().values
        gap = ordered[-1] - ordered[-2]
        total = total + (gap if float(gap.detach()) < 1 / len(row) else gap.new_tensor(1 / len(row)))
    return total / len(labels)


def loss(weights: Weights, images: Tensor, labels: Tensor, real: Tensor, classes: list[int], flip: bool = False) -> Tensor:
    """Return half the squared error, in the mean of real images, minus the margin of the labels.

    Args:
        weights: of the network.
        images: distilled ones, leaves.
        labels: (n, k) rows that sum to zero.
        real: (m, c, h, w).
        classes: of the real images.
        flip: whether mirrored images are regressed on as well.
    """
    many = (torch.cat([images, images.flip(3)]), torch.cat([labels, labels])) if flip else (images, labels)
    total = labels.new_zeros((), dtype=torch.float64)
    for row, label in zip(predicted(weights, *many, real), classes, strict=True):
        for k, value in enumerate(row):
            total = total + (value - ((k == label) - 1 / labels.shape[1])) ** 2
    return total / (2 * len(real)) - margin(labels)
