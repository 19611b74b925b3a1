"""The reverse sweep: train forwards keeping optimizer states, then walk back one Hessian-vector product per step.

Memory per step is four vectors of parameters, and a step's activations only where they fit a byte budget; all else is
recomputed. A long window of a large network keeps one vector per step, and takes the steps of its optimizer again on the
way back. docs/engine.md has the equations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bench import Batch
from bench.nn.networks import Parameters

from .inner import FlatLayout
from .outer import OuterLoss, RealBatchLoss, outer_gradient
from .plain import Inner, State, WindowGradient

Tape = TypeVar("Tape")

TAPE_BUDGET = 16 << 20  # small networks keep every step; large ones recompute most, at 1.3 times the time of a step back
TAPE_BUDGET_CUDA = 4 << 30  # a window of 200 steps of ten CIFAR images
STATE_BUDGET = 1 << 30  # optimizer states of a window: 200 steps of a ConvNet-3 on CIFAR-10, of which taking them again is no loss


class Gradients(Protocol[Tape]):
    """First and second derivatives of the inner losses of K students at flat parameters (K, P).

    All students see the same batch. Vectors may be ``pack``ed in an order of the implementation's own, as optimizers act
    number by number.
    """

    def pack(self, theta: Tensor) -> Tensor:
        """Bring (K, P) numbers from the network's order into this object's."""
        ...

    def unpack(self, packed: Tensor) -> Tensor:
        """Undo ``pack``."""
        ...

    def optimizer(self, inner: Inner) -> Any:
        """Return what takes steps like ``inner``, perhaps faster."""
        ...

    def tape_bytes(self, images: int) -> int:
        """Return the size of one student's tape of a batch of so many images, 0 if none is ever kept."""
        ...

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, Tape | None, Tensor | float]:
        """Return every student's gradient of its loss, what is kept for ``product`` if asked to, and the mean loss."""
        ...

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: Tape | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of Σ ⟨∇loss, direction⟩ over students with respect to parameters, images and labels."""
        ...


class NetworkOrder:
    """The part of ``Gradients`` of those that keep the network's order and take the optimizer's own steps."""

    def pack(self, theta: Tensor) -> Tensor:
        """Return ``theta``: nothing is moved."""
        return theta

    def unpack(self, packed: Tensor) -> Tensor:
        """Return ``packed``."""
        return packed

    def optimizer(self, inner: Inner) -> Inner:
        """Return ``inner``."""
        return inner


@dataclass(frozen=True)
class OneByOne(Generic[Tape]):
    """Derivatives of several students by what does one at a time as well as many: on a CPU, everything but small layers.

    Attributes:
        one: derivatives at (1, P).
    """

    one: Gradients[Tape]

    def pack(self, theta: Tensor) -> Tensor:
        """See ``Gradients``."""
        return self.one.pack(theta)

    def unpack(self, packed: Tensor) -> Tensor:
        """See ``Gradients``."""
        return self.one.unpack(packed)

    def optimizer(self, inner: Inner) -> Any:
        """See ``Gradients``."""
        return self.one.optimizer(inner)

    def tape_bytes(self, images: int) -> int:
        """See ``Gradients``."""
        return self.one.tape_bytes(images)

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, list[Tape | None], Tensor | float]:
        """See ``Gradients``; the tape is a list."""
        if len(theta) == 1:  # nothing to take apart, which small networks would feel
            gradient, tape, loss = self.one.gradient(theta, batch, keep)
            return gradient, [tape], loss
        found = [self.one.gradient(student, batch, keep) for student in theta.split(1)]
        return torch.cat([g for g, _, _ in found]), [tape for _, tape, _ in found], sum(loss for _, _, loss in found) / len(theta)

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: list[Tape | None] | None) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Gradients``."""
        if len(theta) == 1:
            return self.one.product(theta, direction, batch, tape[0] if tape else None)
        found = [
            self.one.product(student, along, batch, kept)
            for student, along, kept in zip(theta.split(1), direction.split(1), tape or [None] * len(theta), strict=True)
        ]
        flat, images, labels = zip(*found, strict=True)
        return torch.cat(flat), torch.stack(images).sum(0), torch.stack(labels).sum(0)


class _Step(NamedTuple, Generic[Tape]):
    theta: Tensor  # before the step
    gradient: Tensor | None  # what the step went along, where the way back reads it
    after: Any  # the state after it
    tape: Tape | None


class _Replay(Generic[Tape]):
    """The steps of a window, of which the gradients are kept and every so many states; those between are taken again.

    An optimizer's step is the same arithmetic on the same numbers, so its states are the same bytes as before.
    """

    def __init__(self, optimizer: Any, every: int) -> None:
        """Keep every ``every``-th state."""
        self.optimizer, self.every = optimizer, every
        self._gradients: list[tuple[Tensor, Tape | None]] = []
        self._marks: list[Any] = []
        self._segment: list[Any] = []

    def append(self, before: Any, gradient: Tensor, tape: Tape | None) -> None:
        """Note a step."""
        if len(self._gradients) % self.every == 0:
            self._marks.append(before)
        self._gradients.append((gradient, tape))

    def pop(self) -> _Step[Tape]:
        """Take out the last step."""
        if not self._segment:
            self._segment = [self._marks.pop()]
            for gradient, _ in self._gradients[len(self._marks) * self.every :]:
                self._segment.append(self.optimizer.advance(self._segment[-1], gradient))
        gradient, tape = self._gradients.pop()
        after = self._segment.pop()
        theta = self._segment[-1].theta
        if len(self._segment) == 1:
            self._segment.clear()
        return _Step(theta, gradient, after, tape)


@dataclass(frozen=True)
class SweepEngine:
    """Exact meta-gradients without a graph of the window.

    Attributes:
        network: the student.
        layout: how its parameters lie in the flat vector.
        gradients: derivatives of the inner loss.
        name: which engine this is, for records.
        tape_budget: bytes of activations that may be kept for the way back; the earliest steps keep theirs.
        state_budget: bytes of optimizer states that may be kept for it.
    """

    network: nn.Module
    layout: FlatLayout
    gradients: Gradients[Any]
    name: str
    tape_budget: int = TAPE_BUDGET
    state_budget: int = STATE_BUDGET

    def start(self, students: Sequence[Parameters], inner: Inner) -> State:
        """Return the state before the first step; it is this engine's own and only ``advance`` may change it."""
        return inner.start(self.gradients.pack(self.layout.stacked(students)))

    def advance(self, state: State, batch: Batch, inner: Inner) -> State:
        """Take one inner step without a gradient for the batch; the given state must not be used again."""
        gradient, _, _ = self.gradients.gradient(state.theta, batch)
        return self.gradients.optimizer(inner).update_in_place(state, gradient)  # type: ignore[no-any-return]

    def window_gradient(self, start: State, batches: Sequence[Batch], inner: Inner, outer_loss: OuterLoss) -> WindowGradient:
        """Train ``len(batches)`` steps from ``start`` and differentiate ``outer_loss``; see ``plain.window_gradient``."""
        optimizer = self.gradients.optimizer(inner)
        steps, last = self._forwards(start, batches, optimizer)
        loss, theta_bar = self.outer(outer_loss, last)
        bar, rate = optimizer.cotangent(theta_bar), last.new_zeros((), dtype=torch.float64)
        images: list[Tensor] = []
        labels: list[Tensor | None] = []
        for batch in reversed(batches):
            step = steps.pop()  # frees its tape at the end of the turn
            through, bar, part = optimizer.reverse(step.after, step.gradient, bar)
            theta, x, y = self.gradients.product(step.theta, through, batch, step.tape)
            bar.theta.add_(theta)
            rate += part
            images.append(x)
            labels.append(y if batch.labels.requires_grad else None)
        return WindowGradient(float(loss), images[::-1], labels[::-1], self.gradients.unpack(bar.theta), float(rate))

    def _forwards(self, start: Any, batches: Sequence[Batch], optimizer: Any) -> tuple[list[_Step[Any]] | _Replay[Any], Tensor]:
        """Take all steps, and return what the way back needs of them, with the final parameters."""
        state, room = start.detach(), self.tape_budget
        states = 4 * len(batches) * state.theta.numel() * state.theta.element_size()
        replay = _Replay[Any](optimizer, math.isqrt(len(batches))) if states > self.state_budget else None
        steps: list[_Step[Any]] = []
        for batch in batches:
            size = self.gradients.tape_bytes(len(batch.images)) * len(state.theta)
            keep = 0 < size <= room
            room -= size if keep else 0
            gradient, tape, _ = self.gradients.gradient(state.theta, batch, keep=keep)
            after = optimizer.advance(state, gradient)
            if replay is not None:
                replay.append(state, gradient, tape)
            else:  # the new parameters are the next step's own; this step needs the moments alone
                steps.append(_Step(state.theta, gradient if optimizer.reverse_reads_gradient else None, after, tape))
            state = after
        return replay if replay is not None else steps, state.theta

    def outer(self, loss: OuterLoss, theta: Tensor) -> tuple[Tensor | float, Tensor]:
        """Return the outer loss, averaged over students, and its gradient with respect to their final parameters."""
        if isinstance(loss, RealBatchLoss):
            gradient, _, value = self.gradients.gradient(theta, loss.batch)
            return value, gradient.div_(len(theta))
        value, flat = outer_gradient(loss, self.network, self.layout, self.gradients.unpack(theta))
        return value, self.gradients.pack(flat)
