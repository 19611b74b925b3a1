"""The labels of a kept feature network by hand: read its file, and go through its layers one after another in float64."""

from __future__ import annotations

import json
from pathlib import Path

import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor


def labels(folder: Path, images: Tensor, train: Tensor) -> Tensor:
    """Label images by a ConvNet: blocks of convolution, instance norm, ReLU and average pooling, and a linear layer.

    Args:
        folder: of the ``features`` prerequisite.
        images: (n, c, h, w) in [0, 1].
        train: (N, c, h, w) uint8 training images, whose mean and deviation of each channel standardise what it sees.

    Returns:
        (n, C) probabilities.
    """
    with safe_open(folder / "network.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["about"])["space"] == "standard"
        kept = {key: file.get_tensor(key).double() for key in file.keys()}  # noqa: SIM118
    real = train.double() / 255
    mean, deviation = (value.view(1, -1, 1, 1) for value in (real.mean((0, 2, 3)), real.std((0, 2, 3), correction=0)))
    x = (images.double() - mean) / deviation
    for block in range(sum(key.startswith("convs") for key in kept) // 2):
        x = F.conv2d(x, kept[f"convs.{block}.weight"], kept[f"convs.{block}.bias"], padding=1)
        centred = x - x.mean((2, 3), keepdim=True)
        normed = centred / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        x = normed * kept[f"norms.{block}.weight"].view(1, -1, 1, 1) + kept[f"norms.{block}.bias"].view(1, -1, 1, 1)
        x = F.avg_pool2d(x.clamp_min(0.0), 2)
    powers = (x.flatten(1) @ kept["head.weight"].T + kept["head.bias"]).exp()
    return powers / powers.sum(1, keepdim=True)
