"""Adam's step on flat vectors by the compiled kernels, forwards and in reverse."""

from __future__ import annotations

import ctypes
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Epsilon = Literal["torch", "higher"]


class AdamConstants(NamedTuple):
    """The numbers of one step, with which both conventions for ε read θ′ = θ − α·k·m′/(√v′ + ε′).

    Attributes:
        scale: k, a tensor if the step's number is one.
        eps: ε′, likewise.
        beta1: decay of the running mean.
        beta2: decay of the running mean of squares.
    """

    scale: float | Tensor
    eps: float | Tensor
    beta1: float
    beta2: float

    @classmethod
    def at(
        cls, step: int | Tensor, epsilon: Epsilon = "torch", eps: float = 1e-8, beta1: float = 0.9, beta2: float = 0.999
    ) -> AdamConstants:
        """Return those of step ``step`` (the first is 1)."""
        root = (1.0 - beta2**step) ** 0.5
        return cls(root / (1.0 - beta1**step), eps * root if epsilon == "torch" else eps, beta1, beta2)


Moments = tuple[Tensor, Tensor, Tensor]  # theta, first, second


def compiled_step(library: ctypes.CDLL, state: Moments, gradient: Tensor, into: Moments, lr: float, constants: AdamConstants) -> None:
    """Take one step from ``state`` and write it ``into`` the given tensors, which may be the same."""
    library.ddbench_adam(
        int(gradient.dtype == torch.float64), gradient.numel(), *(t.data_ptr() for t in state), gradient.data_ptr(),
        *(t.data_ptr() for t in into), lr * constants.scale, *constants[1:],
    )  # fmt: skip


def compiled_reverse(
    library: ctypes.CDLL, after: Moments, gradient: Tensor, bar: Moments, lr: float, constants: AdamConstants
) -> tuple[Tensor, float]:
    """Carry the cotangent ``bar`` back through a step, in place on its moments.

    Returns:
        Cotangent of the gradient, and the learning rate's gradient.
    """
    through = torch.empty_like(gradient)
    moved: float = library.ddbench_adam_reverse(
        int(gradient.dtype == torch.float64), gradient.numel(), after[1].data_ptr(), after[2].data_ptr(), gradient.data_ptr(),
        *(t.data_ptr() for t in bar), through.data_ptr(), lr * constants.scale, *constants[1:],
    )  # fmt: skip
    return through, -float(constants.scale) * moved
