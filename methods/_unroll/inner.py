"""The students' optimizer on flat vectors: its step, its step with a graph, and its step in reverse.

It acts number by number, so K students are one (K, P) state. The number of the step may be a tensor, for engines whose
steps are recorded once and played back (``graphs``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.nn.adam import AdamConstants, Epsilon
from bench.nn.networks import Parameters

Step = int | Tensor


class AdamState(NamedTuple):
    """State of Adam for K students of P parameters; as a cotangent, the gradients with respect to each entry.

    Attributes:
        theta: (K, P) parameters.
        first: (K, P) running mean of gradients.
        second: (K, P) running mean of squared gradients.
        step: number of steps taken, of type float64 if it is a tensor.
    """

    theta: Tensor
    first: Tensor
    second: Tensor
    step: Step

    def detach(self) -> AdamState:
        """Cut the graph and keep the numbers, moments included."""
        return AdamState(self.theta.detach(), self.first.detach(), self.second.detach(), self.step)


class SGDState(NamedTuple):
    """State of SGD for K students of P parameters; as a cotangent, the gradients with respect to each entry.

    Attributes:
        theta: (K, P) parameters.
        velocity: (K, P) running sum of gradients.
        step: number of steps taken, of type float64 if it is a tensor.
    """

    theta: Tensor
    velocity: Tensor
    step: Step

    def detach(self) -> SGDState:
        """Cut the graph and keep the numbers, velocity included."""
        return SGDState(self.theta.detach(), self.velocity.detach(), self.step)


@dataclass(frozen=True)
class InnerAdam:
    """Adam (Kingma & Ba 2015) whose step can be differentiated.

    Two conventions for ε exist. ``torch`` adds it after the bias correction, θ ← θ − α·m̂/(√v̂ + ε). ``higher``, the
    library of the authors' code, adds it before: θ ← θ − α·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε), so at t = 1 its effective ε is
    3.2e-7 instead of 1e-8. Where v is zero both let no gradient through √v, whose derivative would be infinite.

    Attributes:
        lr: learning rate α; recorded steps read it from a tensor.
        epsilon: which convention.
    """

    lr: float
    epsilon: Epsilon = "torch"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    reverse_reads_gradient: ClassVar[bool] = True

    def start(self, theta: Tensor) -> AdamState:
        """Return the state before the first step."""
        return AdamState(theta, torch.zeros_like(theta), torch.zeros_like(theta), 0)

    def update(self, state: AdamState, gradient: Tensor, lr: Tensor | None = None) -> AdamState:
        """Take one step along ``gradient`` (K, P), differentiably, also with respect to ``lr`` if it is given."""
        step = state.step + 1
        rate = self.lr if lr is None else lr
        first = self.beta1 * state.first + (1.0 - self.beta1) * gradient
        second = self.beta2 * state.second + (1.0 - self.beta2) * gradient * gradient
        scale, eps = self.constants(step)[:2]
        positive = second > 0
        root = torch.where(positive, torch.where(positive, second, torch.ones_like(second)).sqrt(), torch.zeros_like(second))
        return AdamState(state.theta - (rate * scale) * first / (root + eps), first, second, step)

    @torch.no_grad()
    def update_in_place(self, state: AdamState, gradient: Tensor) -> AdamState:
        """Take the same step without a graph, re-using the state's memory."""
        scale, eps = self.constants(state.step + 1)[:2]
        state.first.mul_(self.beta1).add_(gradient, alpha=1.0 - self.beta1)
        state.second.mul_(self.beta2).addcmul_(gradient, gradient, value=1.0 - self.beta2)
        denominator = state.second.sqrt().add_(eps)
        if isinstance(scale, Tensor):
            state.theta.sub_(denominator.reciprocal_().mul_(state.first).mul_(self.lr * scale))
        else:
            state.theta.addcdiv_(state.first, denominator, value=-self.lr * scale)
        return state._replace(step=state.step + 1)

    @torch.no_grad()
    def advance(self, state: AdamState, gradient: Tensor) -> AdamState:
        """Take the same step without a graph into new memory."""
        return self.update_in_place(AdamState(state.theta.clone(), state.first.clone(), state.second.clone(), state.step), gradient)

    def cotangent(self, theta: Tensor) -> AdamState:
        """Return the gradient of a loss that depends on the final ``theta`` alone."""
        return AdamState(theta, torch.zeros_like(theta), torch.zeros_like(theta), 0)

    @torch.no_grad()
    def reverse(self, after: AdamState, gradient: Tensor, bar: AdamState) -> tuple[Tensor, AdamState, Tensor]:
        """Carry a cotangent back through one step.

        With s = √v′ and both conventions written as θ′ = θ − α·k·m′/(s + ε′), d = 1/(s + ε′):
        m̄′ −= α·k·θ̄·d, v̄′ += [v′>0]·α·k·θ̄·m′·d²/(2s), ḡ = (1−β₁)·m̄′ + 2(1−β₂)·g·v̄′, m̄ = β₁·m̄′, v̄ = β₂·v̄′.

        Args:
            after: the state after the step.
            gradient: (K, P) what the step went along.
            bar: cotangent of ``after``.

        Returns:
            Cotangent of the gradient, cotangent of the state before (without what flows through the gradient), and
            the step's part of the learning rate's gradient (a scalar).
        """
        scale, eps = self.constants(after.step)[:2]
        root = after.second.sqrt()
        inverse = (root + eps).reciprocal_()
        slope = bar.theta * inverse  # θ̄·d
        moved = slope * after.first  # θ̄·m′·d
        first = _plus(bar.first, slope, -self.lr * scale)
        curve = (moved * inverse).div_(root).masked_fill_(root == 0, 0.0)
        second = _plus(bar.second, curve, 0.5 * self.lr * scale)
        through = (gradient * second).mul_(2.0 * (1.0 - self.beta2)).add_(first, alpha=1.0 - self.beta1)
        return through, AdamState(bar.theta, first.mul_(self.beta1), second.mul_(self.beta2), 0), moved.sum() * -scale

    def constants(self, step: Step) -> AdamConstants:
        """Return the numbers of step ``step`` (the first is 1)."""
        return AdamConstants.at(step, self.epsilon, self.eps, self.beta1, self.beta2)


def _plus(x: Tensor, y: Tensor, factor: float | Tensor) -> Tensor:
    """Return x + factor·y, in one pass where the factor is a number."""
    return x + y * factor if isinstance(factor, Tensor) else x.add(y, alpha=factor)


@dataclass(frozen=True)
class InnerSGD:
    """SGD with momentum μ and weight decay λ, as PyTorch's: u ← μ·u + g + λ·θ, θ ← θ − α·u.

    Attributes:
        lr: learning rate α; every engine returns its gradient. Recorded steps read it from a tensor.
        momentum: μ.
        weight_decay: λ.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    reverse_reads_gradient: ClassVar[bool] = False

    def start(self, theta: Tensor) -> SGDState:
        """Return the state before the first step."""
        return SGDState(theta, torch.zeros_like(theta), 0)

    def update(self, state: SGDState, gradient: Tensor, lr: Tensor | None = None) -> SGDState:
        """Take one step along ``gradient`` (K, P), differentiably, also with respect to ``lr`` if it is given."""
        velocity = self.momentum * state.velocity + gradient + self.weight_decay * state.theta
        return SGDState(state.theta - (self.lr if lr is None else lr) * velocity, velocity, state.step + 1)

    @torch.no_grad()
    def update_in_place(self, state: SGDState, gradient: Tensor) -> SGDState:
        """Take the same step without a graph, re-using the state's memory."""
        state.velocity.mul_(self.momentum).add_(gradient).add_(state.theta, alpha=self.weight_decay)
        if isinstance(self.lr, Tensor):
            state.theta.sub_(state.velocity * self.lr)
        else:
            state.theta.add_(state.velocity, alpha=-self.lr)
        return state._replace(step=state.step + 1)

    @torch.no_grad()
    def advance(self, state: SGDState, gradient: Tensor) -> SGDState:
        """Take the same step without a graph into new memory."""
        return self.update_in_place(SGDState(state.theta.clone(), state.velocity.clone(), state.step), gradient)

    def cotangent(self, theta: Tensor) -> SGDState:
        """Return the gradient of a loss that depends on the final ``theta`` alone."""
        return SGDState(theta, torch.zeros_like(theta), 0)

    @torch.no_grad()
    def reverse(self, after: SGDState, gradient: Tensor | None, bar: SGDState) -> tuple[Tensor, SGDState, Tensor]:
        """Carry a cotangent back through one step; see ``InnerAdam.reverse``.

        ū′ −= α·θ̄, ḡ = ū′, θ̄ += λ·ū′, ū = μ·ū′, ᾱ −= ⟨θ̄, u′⟩. The gradient's value does not enter.
        """
        velocity = _plus(bar.velocity, bar.theta, -self.lr)
        theta = bar.theta.add(velocity, alpha=self.weight_decay)
        return velocity, SGDState(theta, velocity * self.momentum, 0), -(bar.theta * after.velocity).sum()


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

    def ordered(self, parameters: Parameters) -> Tensor:
        """Concatenate in this layout's order, whatever the order of ``parameters``."""
        return torch.cat([parameters[name].flatten() for name in self.names])

    def stacked(self, students: Sequence[Parameters]) -> Tensor:
        """Return the (K, P) parameters of K students."""
        return torch.stack([self.ordered(parameters) for parameters in students])

    def joined(self, stacked: Parameters) -> Tensor:
        """Concatenate stacked (K, ...) parameters into (K, P)."""
        return torch.cat([stacked[name].flatten(1) for name in self.names], 1)

    def unflatten(self, theta: Tensor) -> Parameters:
        """Return views of ``theta`` (P,) or (K, P) in the parameters' shapes; one split, so that its gradient is one concatenation."""
        parts, before = theta.split_with_sizes([shape.numel() for shape in self.shapes], -1), theta.shape[:-1]
        return {name: part.view(before + shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}
