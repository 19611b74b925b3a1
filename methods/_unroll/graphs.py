"""The reverse sweep as steps that are captured once and played back: on a GPU one launch each instead of some hundred.

A step before the window, a step of the window and a step back are captured once per shape as CUDA graphs. Everything
they touch lies in tensors that stay where they are, and so do the number of the step and its place in the window, so
that playing a step needs nothing from the host. Elsewhere than on CUDA the steps are called instead of played; the
results are the same, and that is how they are tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from bench import Batch
from bench.nn.networks import Parameters

from .inner import AdamState, SGDState
from .outer import OuterLoss
from .plain import Inner, State, WindowGradient
from .sweep import SweepEngine

_WARM_UPS = 3  # runs before a capture, in which libraries choose their kernels and allocate their workspaces

Shapes = tuple[Inner, torch.Size, torch.Size, torch.Size]
Kind = Literal["before", "window", "window, kept", "back", "back, kept"]


@dataclass(frozen=True)
class GraphEngine:
    """A sweep whose steps are captured once and played back.

    States share static memory, so one unroll runs at a time: after ``start`` of the next, states of the one before raise
    RuntimeError.

    Attributes:
        sweep: the engine that is captured; also does windows whose batches differ in shape.
        device: where its tensors are.
        captured: static memory and graphs, by optimizer and shapes.
    """

    sweep: SweepEngine
    device: torch.device
    captured: dict[Shapes, CapturedSteps] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Which engine is captured."""
        return self.sweep.name

    def start(self, students: Sequence[Parameters], inner: Inner) -> State:
        """Return the state before the first step; it is this engine's own and only ``advance`` may change it."""
        return self.sweep.start(students, inner)

    def advance(self, state: State, batch: Batch, inner: Inner) -> State:
        """Take one inner step without a gradient for the batch; the given state must not be used again."""
        steps = self._steps(state, batch, inner)
        steps.load(state, inner)
        return steps.advance(batch)

    def window_gradient(self, start: State, batches: Sequence[Batch], inner: Inner, outer_loss: OuterLoss) -> WindowGradient:
        """See ``plain.window_gradient``; ``start`` must not be used again."""
        if len({(b.images.shape, b.labels.shape) for b in batches}) > 1:
            self._check(start)
            return self.sweep.window_gradient(start, batches, inner, outer_loss)
        steps = self._steps(start, batches[0], inner)
        steps.load(start, inner)
        return steps.window_gradient(batches, outer_loss)

    def _steps(self, state: State, batch: Batch, inner: Inner) -> CapturedSteps:
        self._check(state)
        key = (replace(inner, lr=0.0), state.theta.shape, batch.images.shape, batch.labels.shape)
        if key not in self.captured:
            self.captured[key] = CapturedSteps(self.sweep, self.device, state, batch, inner)
        return self.captured[key]

    def _check(self, state: State) -> None:
        for steps in self.captured.values():
            steps.owns(state)  # raises where it once did


class CapturedSteps:
    """Static memory for unrolls of fixed shapes, and the steps on it, each captured when it is first taken."""

    def __init__(self, sweep: SweepEngine, device: torch.device, like: State, batch: Batch, inner: Inner) -> None:
        """Allocate what the steps before a window need.

        Args:
            sweep: whose derivatives are taken.
            device: where everything lies.
            like: a state of the right shapes.
            batch: a batch of the right shapes.
            inner: the optimizer; its learning rate is read from ``load``.
        """
        self.sweep, self.gradients, self.device = sweep, sweep.gradients, device
        # Double, as the host's numbers are: 1 - β₂ᵗ loses half of float32's digits at small t.
        self.rate, self.step, self.rate_bar = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(3))
        self.inner: Any = sweep.gradients.optimizer(replace(inner, lr=self.rate))  # type: ignore[arg-type]
        self.slot = torch.zeros(1, dtype=torch.int64, device=device)
        self.state, self.bar = _static(like, self.step), _static(like, self.step)
        self.batch = Batch(torch.zeros_like(batch.images), torch.zeros_like(batch.labels))
        self.handed_out: Tensor | None = None  # theta of the one state whose memory still holds it
        self.taken = 0
        self.room: _Room | None = None
        self.capture = Capture(device)
        self.plays: dict[Kind, Callable[[], None]] = {}

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
        self.play("before")
        self.handed_out = self.state.theta.view_as(self.state.theta)
        state: State = self.state._replace(theta=self.handed_out, step=self.taken + 1)
        return state

    def window_gradient(self, batches: Sequence[Batch], outer_loss: OuterLoss) -> WindowGradient:
        """Train a window and differentiate; see ``plain.window_gradient``."""
        count = len(batches)
        room = self.make_room(count)
        torch.stack([b.images.detach() for b in batches], out=room.images.rows[:count])
        torch.stack([b.labels.detach() for b in batches], out=room.labels.rows[:count])
        self.slot.zero_()
        for k in range(count):
            self.play("window, kept" if k < room.kept else "window")
        loss, theta_bar = self.sweep.outer(outer_loss, self.state.theta)
        self.bar.theta.copy_(theta_bar)
        for moment in (*self.bar[1:-1], self.rate_bar):
            moment.zero_()
        for k in reversed(range(count)):
            self.play("back, kept" if k < room.kept else "back")
        images, labels = room.images_bar.rows[:count].clone(), room.labels_bar.rows[:count].clone()
        wanted = [g if b.labels.requires_grad else None for b, g in zip(batches, labels.unbind(), strict=True)]
        theta = self.gradients.unpack(self.bar.theta).clone()
        return WindowGradient(float(loss), list(images.unbind()), wanted, theta, float(self.rate_bar))

    def make_room(self, steps: int) -> _Room:
        """Return static memory for a window of so many steps; if it must grow, its steps are captured again."""
        if self.room is None or self.room.steps < steps:
            steps = max(steps, 2 * self.room.steps) if self.room else steps
            self.room = None  # before the new one is there
            self.plays = {kind: play for kind, play in self.plays.items() if kind == "before"}
            size = self.gradients.tape_bytes(len(self.batch.images)) * len(self.state.theta)
            kept = min(steps, self.sweep.tape_budget // size) if size else 0
            tape = self.gradients.gradient(self.state.theta, self.batch, keep=True)[1] if kept else ()
            self.room = _Room(steps, kept, self.batch, self.state, self.inner.reverse_reads_gradient, tape, self.slot)
        return self.room

    def play(self, kind: Kind) -> None:
        """Take one step of a kind, which is captured if it is the first."""
        if kind not in self.plays:
            steps: dict[Kind, Callable[[], None]] = {
                "before": self._before,
                "window": partial(self._window, keep=False),
                "window, kept": partial(self._window, keep=True),
                "back": partial(self._back, keep=False),
                "back, kept": partial(self._back, keep=True),
            }
            self.plays[kind] = self.capture(steps[kind], (*self.state[:-1], *self.bar[:-1], self.step, self.slot, self.rate_bar))
        self.plays[kind]()

    def _before(self) -> None:
        gradient, _, _ = self.gradients.gradient(self.state.theta, self.batch)
        _overwrite(self.state, self.inner.update_in_place(self.state, gradient))

    def _window(self, keep: bool) -> None:
        room = self._room()
        gradient, tape, _ = self.gradients.gradient(self.state.theta, room.batch(), keep=keep)
        after = self.inner.advance(self.state, gradient)
        room.theta.put(self.state.theta)
        for rows, moment in zip(room.moments, after[1:-1], strict=True):
            rows.put(moment)
        if room.slope is not None:
            room.slope.put(gradient)
        if keep:
            for rows, leaf in zip(room.tape, pytree.tree_leaves(tape), strict=True):
                rows.put(leaf)
        _overwrite(self.state, after)
        self.slot.add_(1)

    def _back(self, keep: bool) -> None:
        room = self._room()
        self.slot.sub_(1)
        theta = room.theta.get()
        after = type(self.state)(theta, *(rows.get() for rows in room.moments), self.step)
        through, bar, part = self.inner.reverse(after, None if room.slope is None else room.slope.get(), self.bar)
        tape = pytree.tree_unflatten([rows.get() for rows in room.tape], room.tape_form) if keep else None
        flat, images, labels = self.gradients.product(theta, through, room.batch(), tape)
        _overwrite(self.bar, bar._replace(theta=bar.theta + flat, step=self.step - 1.0))
        self.rate_bar.add_(part)
        room.images_bar.put(images)
        room.labels_bar.put(labels)

    def _room(self) -> _Room:
        assert self.room is not None  # made before any step of a window
        return self.room


class _Rows:
    """A tensor for every step of a window; a tensor on the device says which row is meant."""

    def __init__(self, like: Tensor, count: int, slot: Tensor) -> None:
        self.rows, self.slot = like.new_zeros(count, *like.shape), slot

    def get(self) -> Tensor:
        return self.rows.index_select(0, self.slot).squeeze(0)

    def put(self, value: Tensor) -> None:
        self.rows.index_copy_(0, self.slot, value.unsqueeze(0))


class _Room:
    """Static memory of a window: what its steps store on the way forwards, and what they give on the way back.

    Attributes:
        steps: most steps of a window.
        kept: how many of them, the earliest, keep their activations.
    """

    def __init__(self, steps: int, kept: int, batch: Batch, state: Any, reads_gradient: bool, tape: Any, slot: Tensor) -> None:
        self.steps, self.kept = steps, kept
        self.images, self.images_bar = (_Rows(batch.images, steps, slot) for _ in range(2))
        self.labels, self.labels_bar = (_Rows(batch.labels, steps, slot) for _ in range(2))
        self.theta = _Rows(state.theta, steps, slot)
        self.moments = [_Rows(moment, steps, slot) for moment in state[1:-1]]
        self.slope = _Rows(state.theta, steps, slot) if reads_gradient else None
        leaves, self.tape_form = pytree.tree_flatten(tape)
        self.tape = [_Rows(leaf, kept, slot) for leaf in leaves]

    def batch(self) -> Batch:
        return Batch(self.images.get(), self.labels.get())


class Capture:
    """Turns a function of static tensors into what plays it: a CUDA graph, or elsewhere the function itself.

    Graphs of one ``Capture`` share memory for what lives within a step, so they must be played one after another.
    """

    def __init__(self, device: torch.device) -> None:
        """Prepare for functions whose tensors are on ``device``."""
        self.device, self.pool, self.stream = device, None, None
        if device.type == "cuda":
            with torch.cuda.device(device):  # graphs are captured on the current device, which may be another
                self.pool, self.stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def __call__(self, function: Callable[[], None], restored: Iterable[Tensor]) -> Callable[[], None]:
        """Capture a function.

        Args:
            function: reads and writes static tensors alone and asks the device for nothing.
            restored: static tensors that it must find as they are, also after it ran to warm up.
        """
        if self.stream is None:
            return function
        with torch.cuda.device(self.device):
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                rehearse(function, restored)
            torch.cuda.current_stream().wait_stream(self.stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
                function()
        return graph.replay


def rehearse(function: Callable[[], None], restored: Iterable[Tensor]) -> None:
    """Run a function a few times and bring the tensors back to what they were."""
    before = [(tensor, tensor.clone()) for tensor in restored]
    for _ in range(_WARM_UPS):
        function()
        for tensor, value in before:
            tensor.copy_(value)


def _static(like: Any, step: Tensor) -> Any:
    return type(like)(*(torch.zeros_like(part) for part in like[:-1]), step)


def _overwrite(old: AdamState | SGDState, new: AdamState | SGDState) -> None:
    for own, value in zip(old, new, strict=True):
        if own is not value:
            own.copy_(value)  # type: ignore[union-attr, arg-type]
