"""Kernel ridge regression from the features of distilled images to those of real ones (FRePo; KIP before it)."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_regression(features: Tensor, labels: Tensor, real: Tensor, ridge: float) -> Tensor | None:
    """Return what distilled images say about real ones: K_ts (K_ss + λI)⁻¹ y_s with λ = ridge · tr(K_ss) / n.

    K_ss and K_ts are inner products of features. Everything is computed in double precision, because a ridge of a millionth of the
    mean eigenvalue is near the rounding of single precision, and similar images make K_ss nearly singular.

    Args:
        features: (n, d) of distilled images.
        labels: (n, k) targets, y_s.
        real: (m, d) features of real images.
        ridge: λ as a share of the mean eigenvalue of K_ss.

    Returns:
        (m, k) float64, differentiable with respect to all three; ``None`` where K_ss + λI has no Cholesky factor, such as
        features that are all zero or not finite.
    """
    x, y, t = features.double(), labels.double(), real.double()
    kernel = x @ x.T
    strength = ridge * kernel.trace() / len(x)
    factor, failed = torch.linalg.cholesky_ex(kernel + strength * torch.eye(len(x), dtype=x.dtype, device=x.device))
    return None if int(failed) else (t @ x.T) @ torch.cholesky_solve(y, factor)


def label_margin(labels: Tensor) -> Tensor:
    """Return how far the largest target of a (n, k) row is above the second, at most 1/k, averaged over rows; a scalar."""
    first, second = labels.topk(2, dim=1).values.unbind(1)
    return (first - second).clamp_max(1.0 / labels.shape[1]).mean()
