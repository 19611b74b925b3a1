"""WideNet-D, the ConvNet without norms that FRePo and RCIG judge their sets with."""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data import Spec
from ...errors import BenchError
from .build import network_family


class _LecunConv2d(nn.Conv2d):
    """A convolution that starts as Flax's do."""

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """See ``lecun_normal``."""
        return lecun_normal(self, generator)


class _LecunLinear(nn.Linear):
    """A linear layer that starts as Flax's do."""

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """See ``lecun_normal``."""
        return lecun_normal(self, generator)


def lecun_normal(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw a layer's weight from a normal distribution of variance 1 / fan-in, cut at two of its deviations; the bias is zero.

    Without norms the scale of the first weights is the scale of the logits, so it has to be that of the authors' framework. The
    deviation before the cut is larger by 1 / 0.8796, so that it is 1 / √fan-in behind it.
    """
    deviation = 1.0 / math.sqrt(layer.weight[0].numel()) / 0.87962566103423978
    weight = nn.init.trunc_normal_(torch.empty(layer.weight.shape), std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator)
    return {"weight": weight, "bias": torch.zeros(len(weight))}


class WideNet(nn.Module):
    """``depth`` blocks of 3x3 convolution, ReLU and 2x2 average pooling, each twice as wide as the one before, then a linear layer.

    There are no norms. The first convolution pads by 3 for 28x28 images and by 1 otherwise, as in ``ConvNet``.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depth: int, width: int) -> None:
        """Build the layers; ``width`` is that of the first block.

        Raises:
            BenchError: the images are too small for so many poolings.
        """
        super().__init__()
        channels, height, columns = shape
        self.convs = nn.ModuleList()
        for block in range(depth):
            padding = 3 if block == 0 and (height, columns) == (28, 28) else 1
            self.convs.append(_LecunConv2d(channels, width << block, 3, padding=padding))
            height, columns = (height + 2 * padding - 2) // 2, (columns + 2 * padding - 2) // 2
            channels = width << block
        if min(height, columns) < 1:
            raise BenchError(f"a WideNet of depth {depth} needs images of at least {2**depth}x{2**depth}, found {shape[1]}x{shape[2]}")
        self.head = _LecunLinear(channels * height * columns, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, c, h, w) images to (n, classes) logits."""
        x = images
        for conv in self.convs:
            x = F.avg_pool2d(F.relu(conv(x)), 2)
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


@network_family(r"widenet-d([1-6])-w([1-9]\d{0,3})", "widenet-d<depth>-w<width of the first block>, e.g. widenet-d3-w128")
def _build(match: re.Match[str], spec: Spec) -> WideNet:
    return WideNet(spec.shape, spec.classes, depth=int(match[1]), width=int(match[2]))
