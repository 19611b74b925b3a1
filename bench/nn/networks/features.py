"""What a network says of an image before it decides: the input of its last layer."""

from __future__ import annotations

from torch import Tensor, nn

from .parameters import Parameters, forward


def features(network: nn.Module, parameters: Parameters, images: Tensor) -> Tensor:
    """Return the (n, d) inputs of the network's last layer, differentiable with respect to (n, c, h, w) ``images``.

    Raises:
        TypeError: the network does not call its last layer ``head``.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, features, initial_parameters
        >>> network = build_network("convnet-d2-w32", Spec("toy", 2, (1, 8, 8), ("one", "other")))
        >>> parameters = initial_parameters(network, torch.Generator().manual_seed(0))
        >>> features(network, parameters, torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 128])
    """
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Module):
        raise TypeError(f"{type(network).__name__} has no last layer called head, whose inputs are its features")
    found: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    try:
        forward(network, parameters, images)
    finally:
        hook.remove()
    return found[0]
