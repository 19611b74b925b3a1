"""The field's networks, initialised from an explicit generator, for one student or for many at once."""

from __future__ import annotations

import math
import re
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ...data import Spec
from ...errors import BenchError

Parameters = dict[str, Tensor]

_CONVNET = re.compile(r"convnet-d([1-6])-w([1-9]\d{0,3})", re.ASCII)


class ConvNet(nn.Module):
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


def default_network(spec: Spec) -> str:
    """Return the network of a data set: ConvNet-2 w32 below 16 pixels, ConvNet-3 w128 above (DESIGN 9)."""
    if min(spec.height, spec.width) < 16:
        return "convnet-d2-w32"
    return "convnet-d3-w128"


def build_network(name: str, spec: Spec) -> nn.Module:
    """Build a network by name (``convnet-d3-w128``) for a data set, without drawing any random number.

    Raises:
        BenchError: the name is not one the suite knows.
    """
    match = _CONVNET.fullmatch(name)
    if match is None:
        raise BenchError(f"unknown network '{name}'; networks are called convnet-d<depth>-w<width>, e.g. convnet-d3-w128")
    with torch.device("meta"):
        return ConvNet(spec.shape, spec.classes, depth=int(match.group(1)), width=int(match.group(2)))


def initial_parameters(network: nn.Module, generator: torch.Generator, device: torch.device | None = None) -> Parameters:
    """Draw fresh parameters as PyTorch's defaults do: kaiming-uniform with a = √5, norms at one and zero.

    Args:
        network: built by ``build_network``; of its layers only Conv2d, Linear and GroupNorm may hold parameters.
        generator: the only source of randomness, a CPU generator.
        device: where the parameters are put.
    """
    drawn: Parameters = {}
    for prefix, layer in network.named_modules():
        own = dict(layer.named_parameters(prefix=prefix, recurse=False))
        if not own:
            continue
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            fan_in = layer.weight[0].numel()
            # kaiming_uniform(a=√5) of the weight and the uniform of the bias have the same bound.
            bound = 1.0 / math.sqrt(fan_in)
            for key, parameter in own.items():
                drawn[key] = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, nn.GroupNorm):
            for key, parameter in own.items():
                drawn[key] = torch.ones(parameter.shape) if key.endswith("weight") else torch.zeros(parameter.shape)
        else:
            raise BenchError(f"cannot initialise a {type(layer).__name__}; networks may hold Conv2d, Linear and GroupNorm")
    return {key: value.to(device) if device else value for key, value in drawn.items()}


def forward(network: nn.Module, parameters: Parameters, images: Tensor) -> Tensor:
    """Run ``network`` with the given parameters: (n, c, h, w) -> (n, classes) logits."""
    return functional_call(network, parameters, (images,))  # type: ignore[no-any-return]


def stack(students: list[Parameters]) -> Parameters:
    """Stack the parameters of K students along a new first dimension."""
    return {key: torch.stack([student[key] for student in students]) for key in students[0]}


def ensemble_mode(network: nn.Module) -> Literal["grouped", "sequential"]:
    """Say how K students are trained together: grouped up to width 64, where it pays, else one after another.

    The rule looks at shapes alone, so it cannot change from run to run (DESIGN 9). Measured by ``benchmarks``:
    grouping 8 students is 2.8 times faster at width 32 and gains nothing at width 128.
    """
    return "grouped" if isinstance(network, ConvNet) and network.width <= 64 else "sequential"


def grouped_forward(network: nn.Module, stacked: Parameters, images: Tensor) -> Tensor:
    """Run K students in one pass: stacked parameters (K, ...), images (K, n, c, h, w) -> (K, n, classes) logits.

    Each student sees its own images. A ConvNet becomes one grouped convolution per layer.

    Raises:
        TypeError: the network is not a ConvNet.
    """
    if not isinstance(network, ConvNet):
        raise TypeError(f"only a ConvNet can be grouped, found {type(network).__name__}")
    students, count = images.shape[:2]
    x = images.transpose(0, 1).flatten(1, 2)  # (n, K*c, h, w)
    for block in range(network.depth):
        conv, norm, padding = f"convs.{block}", f"norms.{block}", network.paddings[block]
        x = F.conv2d(x, stacked[f"{conv}.weight"].flatten(0, 1), stacked[f"{conv}.bias"].flatten(), padding=padding, groups=students)
        x = F.group_norm(x, students * network.width, stacked[f"{norm}.weight"].flatten(), stacked[f"{norm}.bias"].flatten())
        x = F.avg_pool2d(F.relu(x), 2)
    features = x.reshape(count, students, -1).transpose(0, 1)  # (K, n, f)
    return torch.baddbmm(stacked["head.bias"].unsqueeze(1), features, stacked["head.weight"].transpose(1, 2))


def shared_forward(network: nn.Module, stacked: Parameters, images: Tensor) -> Tensor:
    """Run K students on the same images: stacked parameters (K, ...), images (n, c, h, w) -> (K, n, classes) logits.

    They are one grouped network where ``ensemble_mode`` says so, else they run one after another.
    """
    students = len(next(iter(stacked.values())))
    if students > 1 and ensemble_mode(network) == "grouped":
        return grouped_forward(network, stacked, images.expand(students, *images.shape))
    apart = zip(*(value.unbind() for value in stacked.values()), strict=True)
    return torch.stack([forward(network, dict(zip(stacked, student, strict=True)), images) for student in apart])


def flops_per_image(network: nn.Module, spec: Spec) -> int:
    """Count multiply-adds of convolutions and linear layers, times two, of one forward pass of one image."""
    counted = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal counted
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            counted += 2 * output[0].numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    try:
        network(torch.empty(1, *spec.shape, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return counted
