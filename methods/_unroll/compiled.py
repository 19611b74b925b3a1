"""The compiled engine's side of the sweep: a ConvNet's derivatives and Adam by ``bench/nn/convnet/kernels.cpp``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench import Batch
from bench.nn.adam import compiled_reverse, compiled_step
from bench.nn.convnet.native import NativeConvNet

from .inner import AdamState, InnerAdam
from .plain import Inner


@dataclass(frozen=True)
class CompiledAdam:
    """``InnerAdam`` in one pass over memory per step, on the CPU.

    Attributes:
        inner: the optimizer and its numbers.
        library: the compiled library.
    """

    inner: InnerAdam
    library: ctypes.CDLL
    reverse_reads_gradient: ClassVar[bool] = True

    def update_in_place(self, state: AdamState, gradient: Tensor) -> AdamState:
        """See ``InnerAdam.update_in_place``."""
        return self._step(state, gradient, state)

    def advance(self, state: AdamState, gradient: Tensor) -> AdamState:
        """See ``InnerAdam.advance``."""
        empty = AdamState(torch.empty_like(state.theta), torch.empty_like(state.first), torch.empty_like(state.second), 0)
        return self._step(state, gradient, empty)

    def cotangent(self, theta: Tensor) -> AdamState:
        """See ``InnerAdam.cotangent``."""
        return self.inner.cotangent(theta)

    def reverse(self, after: AdamState, gradient: Tensor, bar: AdamState) -> tuple[Tensor, AdamState, float]:
        """See ``InnerAdam.reverse``; re-uses the memory of ``bar``."""
        through, rate = compiled_reverse(self.library, after[:3], gradient, bar[:3], self.inner.lr, self.inner.constants(after.step))
        return through, bar, rate

    def _step(self, state: AdamState, gradient: Tensor, into: AdamState) -> AdamState:
        step = state.step + 1
        compiled_step(self.library, state[:3], gradient, into[:3], self.inner.lr, self.inner.constants(step))
        return into._replace(step=step)


@dataclass(frozen=True)
class CompiledGradients:
    """Derivatives of a ConvNet's inner loss by the compiled kernels.

    Attributes:
        net: the prepared network.
    """

    net: NativeConvNet

    def pack(self, theta: Tensor) -> Tensor:
        """Bring (K, P) numbers into the kernels' order."""
        return torch.stack([self.net.pack(student) for student in theta])

    def unpack(self, packed: Tensor) -> Tensor:
        """Undo ``pack``."""
        return torch.stack([self.net.unpack(student) for student in packed])

    def optimizer(self, inner: Inner) -> Inner | CompiledAdam:
        """Return Adam in one pass; SGD is as it is."""
        return CompiledAdam(inner, self.net.library) if isinstance(inner, InnerAdam) else inner

    def tape_bytes(self, images: int) -> int:
        """Return the size of the activations of so many images."""
        return self.net.tape_bytes(images)

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, Tensor | None, float]:
        """Return the packed gradient of one student, the activations if asked to, and the loss."""
        gradient, tape, loss = self.net.gradient(theta[0], batch, keep)
        return gradient.unsqueeze(0), tape, loss

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ⟨∇loss, direction⟩ of one student with respect to parameters, images and labels."""
        flat, images, labels = self.net.product(theta[0], direction[0], batch, tape)
        return flat.unsqueeze(0), images, labels
