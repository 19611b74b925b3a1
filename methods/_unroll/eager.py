"""The written-out engine's side of the sweep: flat vectors in, flat vectors out, large batches in micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench import Batch
from bench.nn.convnet_eager import EagerConvNet, NetTape
from bench.nn.networks import Parameters

from .inner import FlatLayout
from .plain import Inner

_MICRO_BATCH_BYTES = 8 << 20  # of one activation tensor on a CPU
_MICRO_BATCH_BYTES_CUDA = 256 << 20


@dataclass(frozen=True)
class EagerGradients:
    """Derivatives of a ConvNet's inner loss by ``EagerConvNet``.

    Attributes:
        net: the derivatives by name.
        layout: how the parameters lie in the flat vector.
        plane: (h, w) of the images.
    """

    net: EagerConvNet
    layout: FlatLayout
    plane: tuple[int, int]

    def pack(self, theta: Tensor) -> Tensor:
        """Return ``theta``: this engine keeps the network's order."""
        return theta

    def unpack(self, packed: Tensor) -> Tensor:
        """Return ``packed``."""
        return packed

    def optimizer(self, inner: Inner) -> Inner:
        """Return ``inner``."""
        return inner

    def tape_bytes(self, images: int) -> int:
        """Return the size of the activations of so many images, in float32."""
        total, (height, width) = 0, self.plane
        for padding in self.net.paddings:
            height, width = height + 2 * padding - 2, width + 2 * padding - 2
            total += self.net.width * (2 * height * width + 2 * (height // 2) * (width // 2))
            height, width = height // 2, width // 2
        return 4 * images * total

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, NetTape | None, float]:
        """Return the gradient, the activations if asked to, and the loss."""
        parameters, count = self.layout.unflatten(theta), len(batch.images)
        size = count if keep else self._micro_batch(batch.images)
        if size >= count:
            found, tape, loss = self.net.gradient(parameters, batch)
            return self._flat(found), tape if keep else None, float(loss)
        out, value = torch.zeros_like(theta), theta.new_zeros(())
        for x, y in zip(batch.images.split(size), batch.labels.split(size), strict=True):
            found, _, loss = self.net.gradient(parameters, Batch(x, y))
            out.add_(self._flat(found), alpha=len(x) / count)
            value += loss * (len(x) / count)
        return out, None, float(value)

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: NetTape | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ⟨∇loss, direction⟩ with respect to parameters, images and labels."""
        parameters = self.layout.unflatten(theta)
        if tape is None:
            _, tape, _ = self.net.gradient(parameters, batch)
        found, images, labels = self.net.product(parameters, self.layout.unflatten(direction), batch, tape)
        return self._flat(found), images, labels

    def _flat(self, found: Parameters) -> Tensor:
        return torch.cat([found[name].flatten() for name in self.layout.names])

    def _micro_batch(self, images: Tensor) -> int:
        """Return how many images keep the first block's activations within the budget."""
        budget = _MICRO_BATCH_BYTES_CUDA if images.is_cuda else _MICRO_BATCH_BYTES
        return max(1, budget // (self.net.width * images.shape[2] * images.shape[3] * images.element_size()))
