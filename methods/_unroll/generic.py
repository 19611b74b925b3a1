"""Derivatives of the inner loss of any module, by PyTorch's autograd: reverse over reverse."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench import Batch, BenchError
from bench.nn.networks import forward, shared_forward
from bench.nn.training import soft_cross_entropy

from .inner import FlatLayout
from .sweep import NetworkOrder

MICRO_BATCH_BYTES = 64 << 20  # of tensors that autograd keeps for one micro-batch on a CPU
MICRO_BATCH_BYTES_CUDA = 1 << 30
_NEVER_CUT = 16  # images for which looking costs more than cutting gains


@dataclass(frozen=True)
class AutogradGradients(NetworkOrder):
    """Gradient and Hessian-vector product by autograd; nothing is kept between the two.

    Attributes:
        network: any module whose output for an image is a row of logits.
        layout: how its parameters lie in the flat vector.
        together: whether the samples of a batch depend on each other, so that no batch may be cut.
        cast: type to which PyTorch's autocast brings convolutions and matrix products, or none.
        sizes: micro-batches found so far, by the shapes of parameters and images.
    """

    network: nn.Module
    layout: FlatLayout
    together: bool
    cast: torch.dtype | None = None
    sizes: dict[tuple[torch.Size, torch.Size], int] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, network: nn.Module, layout: FlatLayout, cast: torch.dtype | None = None) -> AutogradGradients:
        """Look at the module.

        Raises:
            BenchError: it draws random numbers, so that a recomputed step would differ from the step itself.
        """
        kinds = [type(layer).__name__ for layer in network.modules() if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training]
        if kinds:
            raise BenchError(f"a network with {kinds[0]} cannot be recomputed exactly; use engine plain, or put it into eval mode")
        together = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())
        return cls(network, layout, together, cast)

    def tape_bytes(self, images: int) -> int:
        """Return 0: nothing is kept."""
        return 0

    def gradient(self, theta: Tensor, batch: Batch, keep: bool = False) -> tuple[Tensor, None, Tensor]:
        """Return the gradients, no tape, and the mean loss; large batches are cut by bytes."""
        leaf = theta.detach().requires_grad_()
        images, labels = batch.images.detach(), batch.labels.detach()
        size = self._micro_batch(leaf, images, labels)
        gradient, value = None, theta.new_zeros(())
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            with torch.enable_grad():
                loss = self._loss(leaf, x, y) * (len(x) / len(images))
                (part,) = torch.autograd.grad(loss, leaf)
            gradient = part if gradient is None else gradient.add_(part)
            value += loss.detach() / len(theta)
        assert gradient is not None  # a batch has at least one image
        return gradient, None, value

    def product(self, theta: Tensor, direction: Tensor, batch: Batch, tape: None) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Gradients.product``."""
        leaf, x, y = theta.detach().requires_grad_(), batch.images.detach().requires_grad_(), batch.labels.detach().requires_grad_()
        with torch.enable_grad():
            loss = self._loss(leaf, x, y)
            (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
            flat, images, labels = torch.autograd.grad(gradient, (leaf, x, y), direction)
        return flat, images, labels

    def _loss(self, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the students' losses, of which each gets the gradient of its own."""
        with torch.autocast(images.device.type, self.cast, self.cast is not None, cache_enabled=False):
            if len(theta) == 1:
                logits = forward(self.network, self.layout.unflatten(theta.squeeze(0)), images).unsqueeze(0)
            else:
                logits = shared_forward(self.network, self.layout.unflatten(theta), images)
        return soft_cross_entropy(logits.to(theta.dtype), labels)

    def _micro_batch(self, theta: Tensor, images: Tensor, labels: Tensor) -> int:
        """Return how many images keep autograd's saved tensors within the budget, from what one image makes it save."""
        if self.together or len(images) <= _NEVER_CUT:
            return len(images)
        shapes = (theta.shape, images.shape)
        if shapes not in self.sizes:
            budget = MICRO_BATCH_BYTES_CUDA if images.is_cuda else MICRO_BATCH_BYTES
            self.sizes[shapes] = max(1, budget // max(1, self._saved_bytes(theta, images, labels)))
        return self.sizes[shapes]

    def _saved_bytes(self, theta: Tensor, images: Tensor, labels: Tensor) -> int:
        """Return the bytes that autograd keeps for one image."""
        saved = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            saved += tensor.numel() * tensor.element_size() if tensor.shape[:1] == (1,) else 0
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            self._loss(theta, images[:1], labels[:1])
        return saved
