"""The written-out engine's side of the sweep: flat vectors in, flat vectors out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench import Batch
from bench.nn.convnet.eager import EagerConvNet, NetTape
from bench.nn.convnet.inductor import InductorConvNet

from .generic import MICRO_BATCH_BYTES, MICRO_BATCH_BYTES_CUDA, AutogradGradients
from .inner import FlatLayout
from .sweep import NetworkOrder

_MOST_COMPILED = 128  # images; real batches are larger, and would be compiled for the sake of one step in an outer one


@dataclass(frozen=True)
class EagerGradients(NetworkOrder):
    """Derivatives of a ConvNet's inner loss by ``EagerConvNet``.

    Attributes:
        net: the derivatives by name.
        layout: how the parameters lie in the flat vector.
        plane: (h, w) of the images.
        once: gradients of which nothing is kept, large batches in micro-batches.
    """

    net: EagerConvNet
    layout: FlatLayout
    plane: tuple[int, int]
    once: AutogradGradients

    def tape_bytes(self, images: int) -> int:
        """Return the size of the activations of so many images, in float32."""
        total, (height, width) = 0, self.plane
        for padding in self.net.paddings:
            height, width = height + 2 * padding - 2, width + 2 * padding - 2
            total += self.net.width * (3 * height * width + (height // 2) * (width // 2))
            height, width = height // 2, width // 2
        return 4 * images * total

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, NetTape | None, Tensor]:
        """Return the gradients, the activations if asked to, and the mean loss."""
        if keep:
            found, tape, losses = self.net.gradient(self.layout.unflatten(theta), batch)
            return self.layout.joined(found), tape, losses.mean()
        compiled = isinstance(self.net, InductorConvNet) and len(batch.images) <= _MOST_COMPILED
        if not compiled and self.net.cast is None:
            # PyTorch's own fused norm is faster than operation after operation, where nothing of it is needed later.
            return self.once.gradient(theta, batch)
        return self._written_out(theta, batch)

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: NetTape | None) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Gradients.product``."""
        parameters = self.layout.unflatten(theta)
        if tape is None:
            _, tape, _ = self.net.gradient(parameters, batch)
        found, images, labels = self.net.product(parameters, self.layout.unflatten(direction), batch, tape)
        return self.layout.joined(found), images, labels

    def _written_out(self, theta: Tensor, batch: Batch) -> tuple[Tensor, None, Tensor]:
        """Return gradients and mean loss by the same operations as ``product``'s, which round alike; large batches are cut."""
        parameters, total = self.layout.unflatten(theta), len(batch.images)
        budget = MICRO_BATCH_BYTES_CUDA if batch.images.is_cuda else MICRO_BATCH_BYTES
        size = max(_MOST_COMPILED, budget // (self.tape_bytes(1) * len(theta)))
        gradient, loss = torch.zeros_like(theta), theta.new_zeros(())
        for images, labels in zip(batch.images.split(size), batch.labels.split(size), strict=True):
            found, _, losses = self.net.gradient(parameters, Batch(images, labels))
            share = len(images) / total
            gradient.add_(self.layout.joined(found), alpha=share)
            loss += losses.mean() * share
        return gradient, None, loss
