"""How far convolutions and matrix products round: not at all beyond float32, unless a method asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Precision = Literal["float32", "tf32", "bf16"]


def exact_float32() -> None:
    """Make a GPU compute in float32 what is float32, the same way every time.

    PyTorch's default lets convolutions on a GPU round their inputs to ten bits of mantissa (TF32) and its library choose
    algorithms that add in no fixed order. Call this where a worker starts.
    """
    for backend in _backends():
        backend.fp32_precision = "ieee"
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def rounding(precision: Precision) -> Iterator[None]:
    """Let a GPU round the inputs of convolutions and matrix products to TF32 inside, if ``precision`` says so.

    bf16 is not a setting of the process: who computes in it casts (``compute_type``).
    """
    backends = _backends()
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for backend, kept in zip(backends, before, strict=True):
            backend.fp32_precision = kept


def _backends() -> tuple[Any, Any]:
    cudnn: Any = torch.backends.cudnn  # its settings are attributes that come into being at run time
    return torch.backends.cuda.matmul, cudnn.conv


def compute_type(precision: Precision) -> torch.dtype | None:
    """Return the type to which inputs of convolutions and matrix products are cast, or ``None`` for no cast."""
    return torch.bfloat16 if precision == "bf16" else None
