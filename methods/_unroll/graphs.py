"""The reverse sweep as three recorded steps that are played back: on a GPU one launch each instead of some hundred.

A step before the window, a step of the window and a step back are captured once per shape as CUDA graphs. Everything
they touch lies in tensors that stay where they are, and so do the number of the step and its place in the window, so
that playing a step needs nothing from the host. Elsewhere than on CUDA the steps are called instead of played; the
results are the same, and that is how they are tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from bench import Batch
from bench.nn.networks import Parameters

from .inner import AdamState, FlatLayout, SGDState
from .outer import OuterLoss
from .plain import Inner, State, WindowGradient
from .sweep import SweepEngine

_WARM_UPS = 3  # runs before a capture, in which libraries choose their kernels and allocate their workspaces

Shapes = tuple[Inner, torch.Size, torch.Size, torch.Size]


@dataclass(frozen=True)
class GraphEngine:
    """A sweep whose steps are recorded once and played back.

    States share the recorded memory, so one unroll runs at a time: after ``start`` of the next, states of the one
    before raise RuntimeError.

    Attributes:
        sweep: the engine that is recorded; also does windows whose batches differ in shape.
        device: where its tensors are.
    """

    sweep: SweepEngine
    device: torch.device
    recorded: dict[Shapes, Recorded] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Which engine is recorded."""
        return self.sweep.name

    @property
    def network(self) -> nn.Module:
        """The student."""
        return self.sweep.network

    @property
    def layout(self) -> FlatLayout:
        """How its parameters lie in the flat vector."""
        return self.sweep.layout

    def start(self, students: Sequence[Parameters], inner: Inner) -> State:
        """Return the state before the first step; it is this engine's own and only ``advance`` may change it."""
        return self.sweep.start(students, inner)

    def advance(self, state: State, batch: Batch, inner: Inner) -> State:
        """Take one inner step without a gradient for the batch; the given state must not be used again."""
        steps = self._steps(state, batch, inner, 1)
        steps.load(state, inner)
        return steps.advance(batch)

    def window_gradient(self, start: State, batches: Sequence[Batch], inner: Inner, outer_loss: OuterLoss) -> WindowGradient:
        """See ``plain.window_gradient``; ``start`` must not be used again."""
        if len({(b.images.shape, b.labels.shape) for b in batches}) > 1:
            self._check(start)
            return self.sweep.window_gradient(start, batches, inner, outer_loss)
        steps = self._steps(start, batches[0], inner, len(batches))
        steps.load(start, inner)
        return steps.window_gradient(batches, outer_loss)

    def _steps(self, state: State, batch: Batch, inner: Inner, window: int) -> Recorded:
        """Return what is recorded for these shapes, with room for ``window`` steps; a longer window records anew."""
        self._check(state)
        key = (replace(inner, lr=0.0), state.theta.shape, batch.images.shape, batch.labels.shape)
        found = self.recorded.get(key)
        if found is None or found.room < window:
            found = Recorded(self.sweep, self.device, state, batch, inner, window if found is None else max(window, 2 * found.room))
            self.recorded[key] = found
        return found

    def _check(self, state: State) -> None:
        for steps in self.recorded.values():
            steps.owns(state)  # raises where it once did


class Recorded:
    """Static memory for one unroll of fixed shapes, and the three steps on it."""

    def __init__(self, sweep: SweepEngine, device: torch.device, like: State, batch: Batch, inner: Inner, room: int) -> None:
        """Allocate for windows of up to ``room`` steps and record.

        Args:
            sweep: whose derivatives are taken.
            device: where everything lies.
            like: a state of the right shapes.
            batch: a batch of the right shapes.
            inner: the optimizer; its learning rate is read from ``load``.
            room: most steps of a window.
        """
        self.sweep, self.gradients, self.room = sweep, sweep.gradients, room
        count = _number(device)
        self.rate, self.step = count.clone(), count.clone()
        self.inner: Any = sweep.gradients.optimizer(replace(inner, lr=self.rate))  # type: ignore[arg-type]
        self.slot = torch.zeros(1, dtype=torch.int64, device=device)
        self.state, self.bar = _static(like, self.step), _static(like, self.step)
        self.rate_bar = count.clone()
        self.batch = Batch(torch.zeros_like(batch.images), torch.zeros_like(batch.labels, requires_grad=False))
        self.images, self.labels = (t.new_zeros(room, *t.shape) for t in (self.batch.images, self.batch.labels))
        self.images_bar, self.labels_bar = torch.zeros_like(self.images), torch.zeros_like(self.labels)
        self.thetas = like.theta.new_zeros(room, *like.theta.shape)
        self.slopes = torch.zeros_like(self.thetas) if self.inner.reverse_reads_gradient else None
        self.moments = [torch.zeros_like(self.thetas) for _ in like[1:-1]]
        size = sweep.gradients.tape_bytes(len(batch.images)) * len(like.theta)
        self.keep = 0 < size * room <= sweep.tape_budget
        self.tapes: list[Tensor] = []
        self.tape_form: Any = None
        if self.keep:
            _, tape, _ = sweep.gradients.gradient(self.state.theta, self.batch, keep=True)
            leaves, self.tape_form = pytree.tree_flatten(tape)
            self.tapes = [leaf.new_zeros(room, *leaf.shape) for leaf in leaves]
        self.handed_out: Tensor | None = None  # theta of the one state whose memory still holds it
        pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None  # one after another, they may share memory
        self._play_before = record(self._before, lambda: self._counters(0), device, pool)
        self._play_window = record(self._window, lambda: self._counters(0), device, pool)
        self._play_back = record(self._back, lambda: self._counters(1), device, pool)

    def owns(self, state: State) -> bool:
        """Tell whether a state lies in this memory.

        Raises:
            RuntimeError: it did, and the memory was used for another since.
        """
        if state.theta.data_ptr() != self.state.theta.data_ptr():
            return False
        if state.theta is not self.handed_out:
            raise RuntimeError("this state's memory was used for another step; use each state once, and one unroll at a time")
        return True

    def load(self, state: State, inner: Inner) -> None:
        """Put a state and the learning rate in place."""
        self.rate.fill_(inner.lr)
        if not self.owns(state):
            for own, given in zip(self.state[:-1], state[:-1], strict=True):
                own.copy_(given)
            self.step.fill_(state.step)
        self.taken, self.handed_out = int(state.step), None

    def advance(self, batch: Batch) -> State:
        """Take one step before the window."""
        self.batch.images.copy_(batch.images.detach())
        self.batch.labels.copy_(batch.labels.detach())
        self._play_before()
        self.handed_out = self.state.theta.view_as(self.state.theta)
        state: State = self.state._replace(theta=self.handed_out, step=self.taken + 1)
        return state

    def window_gradient(self, batches: Sequence[Batch], outer_loss: OuterLoss) -> WindowGradient:
        """Train a window and differentiate; see ``plain.window_gradient``."""
        count = len(batches)
        torch.stack([b.images.detach() for b in batches], out=self.images[:count])
        torch.stack([b.labels.detach() for b in batches], out=self.labels[:count])
        self.slot.zero_()
        for _ in range(count):
            self._play_window()
        loss, theta_bar = self.sweep.outer(outer_loss, self.state.theta)
        self.bar.theta.copy_(theta_bar)
        for moment in (*self.bar[1:-1], self.rate_bar):
            moment.zero_()
        for _ in range(count):
            self._play_back()
        images, labels = self.images_bar[:count].clone(), self.labels_bar[:count].clone()
        wanted = [g if b.labels.requires_grad else None for b, g in zip(batches, labels.unbind(), strict=True)]
        theta = self.gradients.unpack(self.bar.theta).clone()
        return WindowGradient(float(loss), list(images.unbind()), wanted, theta, float(self.rate_bar))

    def _before(self) -> None:
        gradient, _, _ = self.gradients.gradient(self.state.theta, self.batch)
        _overwrite(self.state, self.inner.update_in_place(self.state, gradient))

    def _window(self) -> None:
        gradient, tape, _ = self.gradients.gradient(self.state.theta, self._batch_here(), keep=self.keep)
        after = self.inner.advance(self.state, gradient)
        self._put(self.thetas, self.state.theta)
        for rows, moment in zip(self.moments, after[1:-1], strict=True):
            self._put(rows, moment)
        if self.slopes is not None:
            self._put(self.slopes, gradient)
        for rows, leaf in zip(self.tapes, pytree.tree_leaves(tape) if self.keep else (), strict=True):
            self._put(rows, leaf)
        _overwrite(self.state, after)
        self.slot.add_(1)

    def _back(self) -> None:
        self.slot.sub_(1)
        theta = self._get(self.thetas)
        after = self.state._make((theta, *(self._get(rows) for rows in self.moments), self.step))
        slope = None if self.slopes is None else self._get(self.slopes)
        through, bar, part = self.inner.reverse(after, slope, self.bar)
        tape = pytree.tree_unflatten([self._get(rows) for rows in self.tapes], self.tape_form) if self.keep else None
        flat, images, labels = self.gradients.product(theta, through, self._batch_here(), tape)
        _overwrite(self.bar, bar._replace(theta=bar.theta + flat, step=self.step - 1.0))
        self.rate_bar.add_(part)
        self._put(self.images_bar, images)
        self._put(self.labels_bar, labels)

    def _batch_here(self) -> Batch:
        return Batch(self._get(self.images), self._get(self.labels))

    def _get(self, rows: Tensor) -> Tensor:
        return rows.index_select(0, self.slot).squeeze(0)

    def _put(self, rows: Tensor, value: Tensor) -> None:
        rows.index_copy_(0, self.slot, value.unsqueeze(0))

    def _counters(self, slot: int) -> None:
        self.slot.fill_(slot)
        self.step.fill_(1.0)


def record(step: Callable[[], None], rewind: Callable[[], None], device: torch.device, pool: Any) -> Callable[[], None]:
    """Capture ``step`` as a CUDA graph and return what plays it; on another device, return ``step``.

    Args:
        step: reads and writes static tensors alone and asks the device for nothing.
        rewind: called before every run that only warms up.
        device: where the tensors are.
        pool: memory that graphs share.
    """
    if device.type != "cuda":
        return step
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            rewind()
            step()
    current.wait_stream(stream)
    rewind()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        step()
    return graph.replay


def _number(device: torch.device) -> Tensor:
    # Double, as the host's numbers are: 1 - β₂ᵗ loses half of float32's digits at small t.
    return torch.zeros((), dtype=torch.float64, device=device)


def _static(like: Any, step: Tensor) -> Any:
    return type(like)(*(torch.zeros_like(part) for part in like[:-1]), step)


def _overwrite(old: AdamState | SGDState, new: AdamState | SGDState) -> None:
    for own, value in zip(old, new, strict=True):
        if own is not value:
            own.copy_(value)  # type: ignore[union-attr, arg-type]
