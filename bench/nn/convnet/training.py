"""Training students by the compiled kernels: one after another at no extra cost, as no call is large enough to matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...data import Batch
from ...train_recipe import TrainRecipe
from ..adam import AdamConstants, compiled_step
from ..networks import ConvNet, Parameters
from . import library
from .native import NativeConvNet

Shape = tuple[int, int, int]


def compiled_net(network: nn.Module, shape: Shape, device: torch.device) -> NativeConvNet | None:
    """Prepare a network for the kernels, or return ``None`` where they cannot be used: only ConvNets on the CPU."""
    if not isinstance(network, ConvNet) or device.type != "cpu" or library.load()[0] is None:
        return None
    return NativeConvNet(network, shape, torch.float32)


class CompiledStudent:
    """One student and its optimizer's state, as packed vectors."""

    def __init__(self, net: NativeConvNet, network: nn.Module, parameters: Parameters, recipe: TrainRecipe) -> None:
        """Start from ``parameters``."""
        self.net, self.recipe, self.steps = net, recipe, 0
        self.shapes = {name: p.shape for name, p in network.named_parameters()}
        self.theta = packed(net, network, parameters)
        self.first, self.second = torch.zeros_like(self.theta), torch.zeros_like(self.theta)

    @torch.no_grad()
    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        """Take one step of the recipe's optimizer on a batch, as PyTorch's optimizers do."""
        recipe, self.steps = self.recipe, self.steps + 1
        gradient, _, _ = self.net.gradient(self.theta, Batch(images, labels))
        if recipe.weight_decay:
            gradient.add_(self.theta, alpha=recipe.weight_decay)
        if recipe.optimizer == "adam":
            state = (self.theta, self.first, self.second)
            compiled_step(self.net.library, state, gradient, state, lr, AdamConstants.at(self.steps))
        else:
            self.first.mul_(recipe.momentum).add_(gradient)
            self.theta.add_(self.first, alpha=-lr)

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""
        parts = self.net.unpack(self.theta).split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape).clone() for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


def compiled_predictions(net: NativeConvNet, network: nn.Module, students: Sequence[Parameters], images: Tensor) -> Tensor:
    """Return the class each student gives to each image: (K, n) int64."""
    return torch.stack([net.logits(packed(net, network, student), images).argmax(1) for student in students])


def packed(net: NativeConvNet, network: nn.Module, parameters: Parameters) -> Tensor:
    """Return parameters by name as the vector that the kernels read."""
    return net.pack(torch.cat([parameters[name].detach().flatten() for name, _ in network.named_parameters()]))
