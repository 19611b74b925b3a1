"""Real training images as minibatches: 8-bit images stay as they are, batches become floats as they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Batch, Spec, Split
from ..space import Space


@dataclass(frozen=True, eq=False)
class RealImages:
    """Training images on a device, in the coordinates of a pixel space once they are drawn.

    Attributes:
        spec: the data set.
        images: (n, c, h, w) uint8 on the device. A float copy of a data set is four times as large (2 GB for the
            100,000 images of Tiny-ImageNet become 5 GB), so none is ever held.
        labels: (n,) int64 on the CPU.
        space: fitted pixel space, on the device.

    Example:
        >>> import torch
        >>> from bench import RealImages, Spec, Split
        >>> from bench.nn.spaces import fit_space
        >>> train = Split(torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
        >>> real = RealImages.of(Spec("toy", 2, (1, 8, 8), ("one", "other")), train, fit_space("standard", train), torch.device("cpu"))
        >>> batch = real.draw_class(1, count=10, generator=torch.Generator().manual_seed(0))
        >>> batch.labels
        tensor([[0., 1.],
                [0., 1.]])
    """

    spec: Spec
    images: Tensor
    labels: Tensor
    space: Space

    @classmethod
    def of(cls, spec: Spec, train: Split, space: Space, device: torch.device) -> RealImages:
        """Put a training split and its space on a device; on a CPU nothing is copied."""
        here = type(space).from_tensors({name: tensor.to(device) for name, tensor in space.tensors().items()})
        return cls(spec, train.images.to(device), train.labels, here)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.spec.shape

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.images.device

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, index: Tensor) -> Batch:
        """Return the images at ``index`` (n,) in the space, with one-hot labels (n, classes)."""
        images = self.space.transform(self.images[index.to(self.device)].float().div_(255.0))
        return Batch(images, F.one_hot(self.labels[index.cpu()], self.spec.classes).to(images))

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """Return ``count`` different images, or all of them where there are fewer."""
        return self.take(torch.randperm(len(self), generator=generator)[:count])

    def draw_class(self, label: int, count: int, generator: torch.Generator) -> Batch:
        """Return ``count`` different images of one class, or all of them where there are fewer."""
        members = torch.nonzero(self.labels == label).flatten()
        return self.take(members[torch.randperm(len(members), generator=generator)[:count]])
