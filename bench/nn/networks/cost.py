"""What a network costs: operations counted on the shapes alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...data import Spec


def flops_per_image(network: nn.Module, spec: Spec) -> int:
    """Count multiply-adds of convolutions and linear layers, times two, of one forward pass of one image.

    Example:
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, flops_per_image
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> flops_per_image(build_network("convnet-d2-w32", spec), spec) > 0
        True
    """
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
