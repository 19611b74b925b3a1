"""What a window of training is differentiated for: a loss of the student's final parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Batch
from bench.nn.networks import Parameters, forward
from bench.nn.training import soft_cross_entropy

from .inner import FlatLayout


@dataclass(frozen=True)
class RealBatchLoss:
    """Cross-entropy on real images (RaT-BPTT, PoDD); an engine may take it in micro-batches.

    Attributes:
        images: (n, c, h, w), augmented.
        labels: (n, k).
    """

    images: Tensor
    labels: Tensor

    @property
    def batch(self) -> Batch:
        """Images and labels as one batch."""
        return Batch(self.images, self.labels)


@dataclass(frozen=True)
class ExpertDistance:
    """Distance to an expert's later parameters, ‖θ − θ*‖² / ‖θ₀ − θ*‖² (MTT, Cazenavette et al. 2022, equation 2).

    Attributes:
        target: (P,) the expert's parameters some epochs later, θ*.
        start: (P,) where expert and student started, θ₀.
    """

    target: Tensor
    start: Tensor

    def __call__(self, theta: Tensor) -> Tensor:
        """Return the loss of a student's final (P,) parameters."""
        return (theta - self.target).square().sum() / (self.start - self.target).square().sum()


OuterLoss = RealBatchLoss | ExpertDistance | Callable[[Parameters], Tensor]


def outer_value(loss: OuterLoss, network: nn.Module, layout: FlatLayout, theta: Tensor) -> Tensor:
    """Evaluate any outer loss, averaged over students, as a differentiable function of (K, P) parameters, in one piece."""
    return torch.stack([_one_value(loss, network, layout, student) for student in theta]).mean()


def _one_value(loss: OuterLoss, network: nn.Module, layout: FlatLayout, theta: Tensor) -> Tensor:
    if isinstance(loss, RealBatchLoss):
        return soft_cross_entropy(forward(network, layout.unflatten(theta), loss.images), loss.labels)
    return loss(theta) if isinstance(loss, ExpertDistance) else loss(layout.unflatten(theta))


def outer_gradient(loss: OuterLoss, network: nn.Module, layout: FlatLayout, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return value (a scalar) and gradient of an outer loss in one piece."""
    leaf = theta.detach().requires_grad_()
    with torch.enable_grad():
        value = outer_value(loss, network, layout, leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient
