"""The student's optimizer as a differentiable function, on parameters laid out as one flat vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench.nn.networks import Parameters

Epsilon = Literal["torch", "higher"]


class AdamState(NamedTuple):
    """State of Adam for P parameters.

    Attributes:
        theta: (P,) parameters.
        first: (P,) running mean of gradients.
        second: (P,) running mean of squared gradients.
        step: number of steps taken.
    """

    theta: Tensor
    first: Tensor
    second: Tensor
    step: int

    def detach(self) -> AdamState:
        """Cut the graph and keep the numbers, moments included."""
        return AdamState(self.theta.detach(), self.first.detach(), self.second.detach(), self.step)


@dataclass(frozen=True)
class InnerAdam:
    """Adam (Kingma & Ba 2015) whose step can be differentiated.

    Two conventions for ε exist. ``torch`` adds it after the bias correction, θ ← θ − α·m̂/(√v̂ + ε). ``higher``, the
    library of the authors' code, adds it before: θ ← θ − α·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε), so at t = 1 its effective ε is
    3.2e-7 instead of 1e-8. Where v is zero both let no gradient through √v, whose derivative would be infinite.

    Attributes:
        lr: learning rate α.
        epsilon: which convention.
    """

    lr: float
    epsilon: Epsilon = "torch"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def start(self, theta: Tensor) -> AdamState:
        """Return the state before the first step."""
        return AdamState(theta, torch.zeros_like(theta), torch.zeros_like(theta), 0)

    def update(self, state: AdamState, gradient: Tensor) -> AdamState:
        """Take one step along ``gradient`` (P,), differentiably."""
        step = state.step + 1
        first = self.beta1 * state.first + (1.0 - self.beta1) * gradient
        second = self.beta2 * state.second + (1.0 - self.beta2) * gradient * gradient
        correction1, correction2 = 1.0 - self.beta1**step, 1.0 - self.beta2**step
        positive = second > 0
        root = torch.where(positive, torch.where(positive, second, torch.ones_like(second)).sqrt(), torch.zeros_like(second))
        if self.epsilon == "torch":
            change = (self.lr / correction1) * first / (root / math.sqrt(correction2) + self.eps)
        else:
            change = (self.lr * math.sqrt(correction2) / correction1) * first / (root + self.eps)
        return AdamState(state.theta - change, first, second, step)

    @torch.no_grad()
    def update_in_place(self, state: AdamState, gradient: Tensor) -> AdamState:
        """Take the same step without a graph, re-using the state's memory."""
        step = state.step + 1
        state.first.mul_(self.beta1).add_(gradient, alpha=1.0 - self.beta1)
        state.second.mul_(self.beta2).addcmul_(gradient, gradient, value=1.0 - self.beta2)
        correction1, correction2 = 1.0 - self.beta1**step, 1.0 - self.beta2**step
        root = state.second.sqrt()
        if self.epsilon == "torch":
            state.theta.addcdiv_(state.first, root.div_(math.sqrt(correction2)).add_(self.eps), value=-self.lr / correction1)
        else:
            state.theta.addcdiv_(state.first, root.add_(self.eps), value=-self.lr * math.sqrt(correction2) / correction1)
        return state._replace(step=step)


@dataclass(frozen=True)
class FlatLayout:
    """How a network's parameters lie in one vector.

    Attributes:
        names: parameter names in order.
        shapes: their shapes.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, parameters: Parameters) -> FlatLayout:
        """Return the layout of ``parameters``."""
        return cls(tuple(parameters), tuple(value.shape for value in parameters.values()))

    @staticmethod
    def flatten(parameters: Parameters) -> Tensor:
        """Concatenate all parameters into one (P,) vector."""
        return torch.cat([value.flatten() for value in parameters.values()])

    def unflatten(self, theta: Tensor) -> Parameters:
        """Return views of ``theta`` in the parameters' shapes; one split, so that its gradient is one concatenation."""
        parts = theta.split_with_sizes([shape.numel() for shape in self.shapes])
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}
