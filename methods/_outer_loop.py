"""The step on the stored numbers: Adam, and the clipping of the images' gradient by a running norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Clip = Literal["corrected", "official", "off"]


@dataclass
class NormClip:
    """Clips a gradient at twice a running mean of its norm (decay 0.9).

    Attributes:
        mode: see ``TruncatedBPTT.clip``.
        running: the running norm s, or ``nan`` before the first step.
    """

    mode: Clip
    running: float = math.nan

    def factor(self, norm: float) -> float:
        """Return what to multiply a gradient of this norm by, and update the running norm.

        The authors update s with the raw norm before they form the threshold 2s, so that clipping starts only above
        2.25 times the old s and one outlier inflates s for some twenty steps.
        """
        if self.mode == "off":
            return 1.0
        if math.isnan(self.running):
            self.running = norm
            return 1.0
        if self.mode == "official":
            self.running = 0.9 * self.running + 0.1 * norm
            return min(1.0, 2.0 * self.running / (norm + 1e-6))
        threshold = 2.0 * self.running
        self.running = 0.9 * self.running + 0.1 * min(norm, threshold)
        return min(1.0, threshold / (norm + 1e-6))


@dataclass
class OuterAdam:
    """Adam on the stored tensors, kept as plain tensors so that a run can be resumed from a file."""

    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    steps: int = 0

    @torch.no_grad()
    def step(self, tensors: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rates: Mapping[str, float]) -> None:
        """Move every tensor along its gradient with its own learning rate."""
        self.steps += 1
        scale1, scale2 = 1.0 - 0.9**self.steps, math.sqrt(1.0 - 0.999**self.steps)
        for key, gradient in gradients.items():
            first, second = self.moments.setdefault(key, (torch.zeros_like(gradient), torch.zeros_like(gradient)))
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            tensors[key].addcdiv_(first, (second.sqrt() / scale2).add_(1e-8), value=-rates[key] / scale1)
