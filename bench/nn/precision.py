"""How far convolutions and matrix products round: not at all beyond float32, unless a method asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Precision = Literal["float32", "tf32", "bf16"]


def exact_float32() -> None:
    """Make a GPU compute in float32 what is float32, the same way every time.

    PyTorch's default lets convolutions on a GPU round their inputs to ten bits of mantissa (TF32) and its library choose
    algorithms that add in no fixed order. Call this where a worker starts.
    """
    _allow_tf32(False)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def rounding(precision: Precision) -> Iterator[None]:
    """Let a GPU round the inputs of convolutions and matrix products to TF32 inside, if ``precision`` says so.

    bf16 is not a setting of the process: who computes in it casts (``compute_type``).
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def _allow_tf32(allowed: bool) -> None:
    # PyTorch has a newer way to set these one by one; after it, reading them in the old way is an error, and its own
    # compiler reads them so.
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def lacks(device: torch.device, precision: str) -> str:
    """Return a sentence if a device does not have a precision or it does not exist, else an empty string."""
    if precision not in get_args(Precision):
        return f"precision '{precision}' does not exist; there are {', '.join(get_args(Precision))}"
    if precision == "tf32" and device.type != "cuda":
        return "precision tf32 was asked for on the CPU, which has none; use precision float32, or --device cuda"
    if precision != "float32" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return f"precision {precision} needs a GPU of compute capability 8.0 (Ampere) or higher; use precision float32"
    return ""


def compute_type(precision: Precision) -> torch.dtype | None:
    """Return the type to which inputs of convolutions and matrix products are cast, or ``None`` for no cast."""
    return torch.bfloat16 if precision == "bf16" else None
