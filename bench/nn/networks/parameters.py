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
