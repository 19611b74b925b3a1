"""Plugins of these tests: a data set of two kinds of bars, and plain images with a class number each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import DATASETS, PARAMETERIZATIONS, Batch, DataOptions, Dataset, Parameterization, Spec, Split
from bench.parameterization import Role
from bench.seeding import stream

SPEC = Spec("judge-toy", 2, (1, 8, 8), ("rows", "columns"), mirror=False)


def bars(name: str, count: int) -> Split:
    """Draw ``count`` noisy images, half of them with bright rows, half with bright columns."""
    generator = stream("judge toy", name)
    labels = torch.arange(count) % 2
    stripes = (torch.arange(8) % 2 * 90).float()
    rows, columns = stripes.view(8, 1).expand(8, 8), stripes.view(1, 8).expand(8, 8)
    clean = torch.where(labels.view(-1, 1, 1) == 0, rows, columns)
    noisy = clean + 60 + 25 * torch.randn(count, 8, 8, generator=generator)
    return Split(noisy.clamp(0, 255).to(torch.uint8).unsqueeze(1), labels)


def bars_dataset(n_val: int) -> Dataset:
    """Return 40 training, ``n_val`` validation and 120 test images."""
    return Dataset(SPEC, bars("train", 40), lambda: bars("test", 120), val=bars("val", n_val))


@DATASETS.register("judge-toy")
def judge_toy(options: DataOptions) -> Dataset:
    """Bars, in memory."""
    del options
    return bars_dataset(60)


@PARAMETERIZATIONS.register("judge-plain")
class Plain(Parameterization):
    """n images with one class number each.

    Tensors:
        images: (n, c, h, w) float32, role image.
        ids: (n,) int64, role label.
    """

    name: ClassVar[str] = "judge-plain"
    roles: ClassVar[Mapping[str, Role]] = {"images": "image", "ids": "label"}
    images: nn.Parameter
    ids: Tensor

    def __init__(self, spec: Spec, count: int) -> None:
        """Make room for ``count`` images."""
        super().__init__()
        self.spec = spec
        self.images = nn.Parameter(torch.zeros(count, *spec.shape))
        self.register_buffer("ids", torch.zeros(count, dtype=torch.int64))

    def config(self) -> dict[str, Any]:
        """Return the number of images."""
        return {"count": len(self.images)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Plain:
        """Rebuild."""
        return cls(spec, config["count"])

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def decode(self, index: Tensor | None = None) -> Batch:
        """Return the images as they are."""
        chosen = slice(None) if index is None else index
        return Batch(self.images[chosen], F.one_hot(self.ids[chosen], self.spec.classes).float())

    @torch.no_grad()
    def write(self, images: Tensor, labels: Tensor) -> None:
        """Store images and classes."""
        self.images.copy_(images)
        self.ids.copy_(labels)

    @property
    def channels(self) -> int:
        """Colour channels."""
        return self.spec.channels
