"""A student as a dictionary of tensors: drawn from an explicit generator, run through a network, stacked with others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...errors import BenchError

Parameters = dict[str, Tensor]


def initial_parameters(network: nn.Module, generator: torch.Generator, device: torch.device | None = None) -> Parameters:
    """Draw fresh parameters as PyTorch's defaults do: kaiming-uniform with a = √5, norms at one and zero.

    Args:
        network: built by ``build_network``; of its layers only Conv2d, Linear and GroupNorm may hold parameters. A layer
            with a method ``draw(generator)`` draws its own by name.
        generator: the only source of randomness, a CPU generator.
        device: where the parameters are put.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, initial_parameters
        >>> network = build_network("convnet-d2-w32", Spec("toy", 2, (1, 8, 8), ("one", "other")))
        >>> one, other = (initial_parameters(network, torch.Generator().manual_seed(0)) for _ in range(2))
        >>> all(torch.equal(one[key], other[key]) for key in one)
        True
    """
    drawn: Parameters = {}
    for prefix, layer in network.named_modules():
        own = dict(layer.named_parameters(prefix=prefix, recurse=False))
        if not own:
            continue
        if callable(drawing := getattr(layer, "draw", None)):
            drawn |= {f"{prefix}.{name}": value for name, value in drawing(generator).items()}
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
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
    """Run ``network`` with the given parameters: (n, c, h, w) -> (n, classes) logits.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, forward, initial_parameters
        >>> network = build_network("convnet-d2-w32", Spec("toy", 2, (1, 8, 8), ("one", "other")))
        >>> student = initial_parameters(network, torch.Generator().manual_seed(0))
        >>> images = torch.rand(5, 1, 8, 8, requires_grad=True)
        >>> torch.autograd.grad(forward(network, student, images).sum(), images)[0].shape
        torch.Size([5, 1, 8, 8])
    """
    return functional_call(network, parameters, (images,))  # type: ignore[no-any-return]


def stack(students: list[Parameters]) -> Parameters:
    """Stack the parameters of K students along a new first dimension.

    Example:
        >>> import torch
        >>> from bench.nn.networks import stack
        >>> stack([{"weight": torch.zeros(3)}, {"weight": torch.ones(3)}])["weight"].shape
        torch.Size([2, 3])
    """
    return {key: torch.stack([student[key] for student in students]) for key in students[0]}
