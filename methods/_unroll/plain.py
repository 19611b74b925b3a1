"""The plain engine: keep the graph of every step of the window and differentiate through all of it at once.

Exact, short, and the reference for faster engines. Its memory grows with the length of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench import Batch
from bench.nn.networks import Parameters, forward
from bench.nn.training import soft_cross_entropy

from .inner import AdamState, FlatLayout, InnerAdam, InnerSGD, SGDState
from .outer import OuterLoss, outer_value

Inner = InnerAdam | InnerSGD
State = AdamState | SGDState


@dataclass(frozen=True)
class WindowGradient:
    """Value and gradient of an outer loss after a window of inner steps.

    Attributes:
        loss: the outer loss, averaged over the students as is everything below.
        images: gradient of every inner batch's images, in order.
        labels: gradient of every inner batch's labels, or ``None`` where they need none.
        theta: (K, P) gradient of the parameters at the start of the window, in the network's order.
        lr: gradient of the inner learning rate.
    """

    loss: float
    images: list[Tensor]
    labels: list[Tensor | None]
    theta: Tensor
    lr: float


def advance(network: nn.Module, layout: FlatLayout, state: State, batch: Batch, inner: Inner) -> State:
    """Take one inner step on ``batch`` without keeping a graph; the batch gets no gradient."""
    theta = state.theta.detach().requires_grad_()
    loss = _students_loss(network, layout, theta, batch.images.detach(), batch.labels.detach())
    (gradient,) = torch.autograd.grad(loss, theta)
    return inner.update_in_place(state, gradient)  # type: ignore[arg-type, return-value]


def window_gradient(
    network: nn.Module, layout: FlatLayout, start: State, batches: Sequence[Batch], inner: Inner, outer_loss: OuterLoss
) -> WindowGradient:
    """Train ``len(batches)`` steps from ``start`` and differentiate ``outer_loss`` of the final parameters.

    Args:
        network: the student.
        layout: how its parameters lie in the flat vector.
        start: parameters and moments of K students at the start of the window; taken as constants but for ``theta``'s
            gradient.
        batches: inner minibatches in order; gradients are with respect to them. Labels get one if they require it.
        inner: the student's optimizer.
        outer_loss: see ``OuterLoss``; a plain function maps one student's final parameters to a scalar.
    """
    theta = start.theta.detach().requires_grad_()
    lr = torch.tensor(inner.lr, dtype=theta.dtype, device=theta.device, requires_grad=True)
    state: State = start.detach()._replace(theta=theta)
    leaves: list[Tensor] = [theta, lr]
    images: list[Tensor] = []
    labels: list[Tensor | None] = []
    for batch in batches:
        x = batch.images.detach().requires_grad_()
        y = batch.labels.detach().requires_grad_(batch.labels.requires_grad)
        images.append(x)
        labels.append(y if y.requires_grad else None)
        leaves += [x, y] if y.requires_grad else [x]
        loss = _students_loss(network, layout, state.theta, x, y)
        (gradient,) = torch.autograd.grad(loss, state.theta, create_graph=True)
        state = inner.update(state, gradient, lr)  # type: ignore[arg-type]
    final = outer_value(outer_loss, network, layout, state.theta)
    gradients = dict(zip(map(id, leaves), torch.autograd.grad(final, leaves), strict=True))
    return WindowGradient(
        loss=float(final.detach()),
        images=[gradients[id(x)] for x in images],
        labels=[None if y is None else gradients[id(y)] for y in labels],
        theta=gradients[id(theta)],
        lr=float(gradients[id(lr)]),
    )


def _students_loss(network: nn.Module, layout: FlatLayout, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the students' losses, one student after another; each gets the gradient of its own."""
    return torch.stack([soft_cross_entropy(forward(network, layout.unflatten(student), images), labels) for student in theta]).sum()


@dataclass(frozen=True)
class PlainEngine:
    """The plain unroll behind the interface that all engines share.

    Attributes:
        network: the student.
        layout: how its parameters lie in the flat vector.
    """

    network: nn.Module
    layout: FlatLayout
    name: ClassVar[str] = "plain"

    def start(self, students: Sequence[Parameters], inner: Inner) -> State:
        """Return the state before the first step; it is this engine's own and only ``advance`` may change it."""
        return inner.start(self.layout.stacked(students))

    def advance(self, state: State, batch: Batch, inner: Inner) -> State:
        """Take one inner step without a gradient for the batch; the given state must not be used again."""
        return advance(self.network, self.layout, state, batch, inner)

    def window_gradient(self, start: State, batches: Sequence[Batch], inner: Inner, outer_loss: OuterLoss) -> WindowGradient:
        """See the function of this name."""
        return window_gradient(self.network, self.layout, start, batches, inner, outer_loss)
