"""The order in which the compiled kernels keep a ConvNet's parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks import ConvNet


@dataclass(frozen=True)
class Packing:
    """Two index vectors between a flat vector in the network's order and one in the kernels' order.

    Attributes:
        forward: (Q,) for every packed position where its number lies, or P where it is a padding zero.
        backward: (P,) for every parameter its packed position.
        features: (d,) for every input of the last layer its place in a packed row of that layer.
        row: numbers of such a row, padding included.
    """

    forward: Tensor
    backward: Tensor
    features: Tensor
    row: int

    @property
    def size(self) -> int:
        """Packed numbers, padding included."""
        return len(self.forward)

    @classmethod
    def of(cls, network: ConvNet, shape: tuple[int, int, int], lanes: int) -> Packing:
        """Lay out ``network`` for images of ``shape`` in blocks of ``lanes`` channels."""
        count = sum(p.numel() for p in network.parameters())
        places, position = {}, 0
        for name, parameter in network.named_parameters():
            places[name] = torch.arange(position, position + parameter.numel()).view(parameter.shape)
            position += parameter.numel()

        def padded(index: Tensor, *pairs: int) -> Tensor:
            return F.pad(index, pairs, value=count)

        spare = -network.width % lanes
        parts, (channels, height, width) = [], shape
        for block in range(network.depth):
            weight = places[f"convs.{block}.weight"].flatten(2)  # (out, in, tap)
            lanes_in = channels if block == 0 else lanes
            weight = padded(weight, 0, 0, 0, -weight.shape[1] % lanes_in, 0, spare)
            weight = weight.unflatten(0, (-1, lanes)).unflatten(2, (-1, lanes_in))  # (ob, o, ib, i, tap)
            parts.append(weight.permute(0, 2, 4, 3, 1).flatten())
            parts += [padded(places[name], 0, spare) for name in (f"convs.{block}.bias", f"norms.{block}.weight", f"norms.{block}.bias")]
            border = 2 * network.paddings[block] - 2
            height, width = (height + border) // 2, (width + border) // 2
        head = places["head.weight"].view(-1, network.width, height * width)
        head = padded(head, 0, 0, 0, spare).unflatten(1, (-1, lanes))  # (class, block, lane, pixel)
        parts.append(head.transpose(2, 3).flatten())
        row = head[0].numel()
        parts.append(padded(places["head.bias"], 0, -network.head.out_features % lanes))
        forward = torch.cat(parts)
        backward = torch.empty(count, dtype=torch.int64)
        kept = forward < count
        backward[forward[kept]] = torch.nonzero(kept).flatten()
        first = backward[places["head.weight"][0]]  # a row begins with the first channel's first pixel
        return cls(forward, backward, first - first[0], row)

    def pack(self, theta: Tensor) -> Tensor:
        """Return the packed vector of ``theta`` (P,)."""
        return torch.cat([theta, theta.new_zeros(1)])[self.forward]

    def unpack(self, packed: Tensor) -> Tensor:
        """Return the (P,) vector of ``packed``."""
        return packed[self.backward]
