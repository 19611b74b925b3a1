"""The plain engine: keep the graph of every step of the window and differentiate through all of it at once.

Exact, short, and the reference for faster engines. Its memory grows with the length of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Batch
from bench.nn.networks import Parameters, forward
from bench.nn.students import soft_cross_entropy

from .inner import AdamState, FlatLayout, InnerAdam


@dataclass(frozen=True)
class WindowGradient:
    """Value and gradient of an outer loss after a window of inner steps.

    Attributes:
        loss: the outer loss.
        images: gradient of every inner batch's images, in order.
        labels: gradient of every inner batch's labels, or ``None`` where they need none.
        theta: (P,) gradient of the parameters at the start of the window.
    """

    loss: float
    images: list[Tensor]
    labels: list[Tensor | None]
    theta: Tensor


def advance(network: nn.Module, layout: FlatLayout, state: AdamState, batch: Batch, inner: InnerAdam) -> AdamState:
    """Take one inner step on ``batch`` without keeping a graph; the batch gets no gradient."""
    theta = state.theta.detach().requires_grad_()
    loss = soft_cross_entropy(forward(network, layout.unflatten(theta), batch.images.detach()), batch.labels.detach())
    (gradient,) = torch.autograd.grad(loss, theta)
    return inner.update_in_place(state, gradient)


def window_gradient(
    network: nn.Module,
    layout: FlatLayout,
    start: AdamState,
    batches: Sequence[Batch],
    inner: InnerAdam,
    outer_loss: Callable[[Parameters], Tensor],
) -> WindowGradient:
    """Train ``len(batches)`` steps from ``start`` and differentiate ``outer_loss`` of the final parameters.

    Args:
        network: the student.
        layout: how its parameters lie in the flat vector.
        start: parameters and moments at the start of the window; taken as constants but for ``theta``'s gradient.
        batches: inner minibatches in order; gradients are with respect to them. Labels get one if they require it.
        inner: the student's optimizer.
        outer_loss: maps the final parameters to a scalar.
    """
    theta = start.theta.detach().requires_grad_()
    state = start.detach()._replace(theta=theta)
    leaves: list[Tensor] = [theta]
    images: list[Tensor] = []
    labels: list[Tensor | None] = []
    for batch in batches:
        x = batch.images.detach().requires_grad_()
        y = batch.labels.detach().requires_grad_(batch.labels.requires_grad)
        images.append(x)
        labels.append(y if y.requires_grad else None)
        leaves += [x, y] if y.requires_grad else [x]
        loss = soft_cross_entropy(forward(network, layout.unflatten(state.theta), x), y)
        (gradient,) = torch.autograd.grad(loss, state.theta, create_graph=True)
        state = inner.update(state, gradient)
    final = outer_loss(layout.unflatten(state.theta))
    gradients = dict(zip(map(id, leaves), torch.autograd.grad(final, leaves), strict=True))
    return WindowGradient(
        loss=float(final.detach()),
        images=[gradients[id(x)] for x in images],
        labels=[None if y is None else gradients[id(y)] for y in labels],
        theta=gradients[id(theta)],
    )
