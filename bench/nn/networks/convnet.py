"""ConvNet-D, the standard network of dataset distillation."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data import Spec
from ...errors import BenchError
from .build import network_family
from .ensemble import Groupable
from .parameters import Parameters


class ConvNet(Groupable):
    """ConvNet-D, the standard network of dataset distillation (Gidaris & Komodakis 2018; Zhao et al. 2021).

    ``depth`` blocks of 3x3 convolution, instance norm (as GroupNorm with one group per channel, affine), ReLU and 2x2
    average pooling, then one linear layer. The first convolution pads by 3 for 28x28 images, so that they come out of
    it as 32x32, and by 1 otherwise.

    Attributes:
        depth: number of blocks.
        width: channels of every block.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, depth: int, width: int) -> None:
        """Build the layers; parameters are drawn by ``initial_parameters``.

        Raises:
            BenchError: the images are too small for so many poolings.
        """
        super().__init__()
        channels, height, rows_width = shape
        self.depth, self.width = depth, width
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        self.paddings: list[int] = []
        for block in range(depth):
            padding = 3 if block == 0 and (height, rows_width) == (28, 28) else 1
            self.paddings.append(padding)
            self.convs.append(nn.Conv2d(channels, width, 3, padding=padding))
            self.norms.append(nn.GroupNorm(width, width))
            height, rows_width = (height + 2 * padding - 2) // 2, (rows_width + 2 * padding - 2) // 2
            channels = width
        if min(height, rows_width) < 1:
            raise BenchError(f"a ConvNet of depth {depth} needs images of at least {2**depth}x{2**depth}, found {shape[1]}x{shape[2]}")
        self.head = nn.Linear(width * height * rows_width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, c, h, w) images to (n, classes) logits."""
        x = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.avg_pool2d(F.relu(norm(conv(x))), 2)
        return self.head(x.flatten(1))  # type: ignore[no-any-return]

    @property
    def grouping_pays(self) -> bool:
        """Up to width 64. Measured by ``benchmarks``: 8 students are 2.8 times faster at width 32, no faster at 128."""
        return self.width <= 64

    def grouped(self, stacked: Parameters, images: Tensor) -> Tensor:
        """See ``grouped_forward``; every layer becomes one grouped convolution."""
        students, count = images.shape[:2]
        x = images.transpose(0, 1).flatten(1, 2)  # (n, K*c, h, w)
        for block in range(self.depth):
            conv, norm, padding = f"convs.{block}", f"norms.{block}", self.paddings[block]
            x = F.conv2d(x, stacked[f"{conv}.weight"].flatten(0, 1), stacked[f"{conv}.bias"].flatten(), padding=padding, groups=students)
            x = F.group_norm(x, students * self.width, stacked[f"{norm}.weight"].flatten(), stacked[f"{norm}.bias"].flatten())
            x = F.avg_pool2d(F.relu(x), 2)
        features = x.reshape(count, students, -1).transpose(0, 1)  # (K, n, f)
        return torch.baddbmm(stacked["head.bias"].unsqueeze(1), features, stacked["head.weight"].transpose(1, 2))


@network_family(r"convnet-d([1-6])-w([1-9]\d{0,3})", "convnet-d<depth>-w<width>, e.g. convnet-d3-w128")
def _build(match: re.Match[str], spec: Spec) -> ConvNet:
    return ConvNet(spec.shape, spec.classes, depth=int(match[1]), width=int(match[2]))
