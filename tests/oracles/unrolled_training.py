"""An independent, slow computation of one meta-gradient: explicit loops, its own network, its own Adam.

It shares no code with the suite. Everything is float64.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def network(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """A ConvNet written out layer by layer, with instance norm from its definition."""
    block = 0
    while f"convs.{block}.weight" in parameters:
        padding = 3 if block == 0 and x.shape[-1] == 28 else 1
        x = F.conv2d(x, parameters[f"convs.{block}.weight"], parameters[f"convs.{block}.bias"], padding=padding)
        mean = x.mean((2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((2, 3), keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-5)
        x = x * parameters[f"norms.{block}.weight"][None, :, None, None] + parameters[f"norms.{block}.bias"][None, :, None, None]
        x = torch.where(x > 0, x, torch.zeros_like(x))
        x = (x[:, :, 0::2, 0::2] + x[:, :, 1::2, 0::2] + x[:, :, 0::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
        block += 1
    return x.reshape(len(x), -1) @ parameters["head.weight"].T + parameters["head.bias"]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the sum of targets times log-probabilities, averaged over the samples, term by term."""
    total = logits.new_zeros(())
    for z, y in zip(logits, targets, strict=True):
        log_normaliser = torch.logsumexp(z, 0)
        for k in range(len(z)):
            total = total - y[k] * (z[k] - log_normaliser)
    return total / len(logits)


def adam_step(parameters, moments, gradients, t: int, lr: float, convention: str):
    """One step of Adam, parameter by parameter, in either convention for epsilon."""
    new_parameters, new_moments = {}, {}
    for key, theta in parameters.items():
        g = gradients[key]
        m = 0.9 * moments[key][0] + 0.1 * g
        v = 0.999 * moments[key][1] + 0.001 * g * g
        positive = v > 0
        root = torch.where(positive, torch.sqrt(torch.where(positive, v, torch.ones_like(v))), torch.zeros_like(v))
        if convention == "torch":
            step = (m / (1 - 0.9**t)) / (root / math.sqrt(1 - 0.999**t) + 1e-8)
        else:
            step = math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (root + 1e-8)
        new_parameters[key] = theta - lr * step
        new_moments[key] = (m, v)
    return new_parameters, new_moments


def outer_loss(parameters, batches, real, lr: float, convention: str, graph_from: int = 0) -> Tensor:
    """Train on ``batches`` [(images, labels), ...] and return the loss on ``real``; no graph before ``graph_from``."""
    moments = {key: (torch.zeros_like(p), torch.zeros_like(p)) for key, p in parameters.items()}
    for step, (x, y) in enumerate(batches):
        if step < graph_from:
            x, y = x.detach(), y.detach()
        leaves = {key: p if p.requires_grad else p.clone().requires_grad_() for key, p in parameters.items()}
        loss = cross_entropy(network(leaves, x), y)
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), create_graph=True), strict=True))
        parameters, moments = adam_step(leaves, moments, gradients, step + 1, lr, convention)
        if step < graph_from:
            parameters = {key: p.detach() for key, p in parameters.items()}
            moments = {key: (m.detach(), v.detach()) for key, (m, v) in moments.items()}
    return cross_entropy(network(parameters, real[0]), real[1])


def cut_patches(poster: Tensor, corners: list[tuple[int, int]], size: int) -> Tensor:
    """Slice square patches one by one: (c, H, W) -> (n, c, size, size)."""
    return torch.stack([poster[:, y : y + size, x : x + size] for y, x in corners])
