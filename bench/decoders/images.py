"""Separate images, full size or smaller; the plain parameterization of nearly every method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch, Spec
from ..errors import BenchError
from ..parameterization import Role
from ..registry import PARAMETERIZATIONS
from .label_rows import ROWS, LabelRows

LabelForm = Literal["order", "ids", "soft", "probabilities", "centred"]


@PARAMETERIZATIONS.register("images")
class Images(LabelRows):
    """n images of one size, upsampled bilinearly to the data set's size when they are used.

    Labels are implied by the ``order`` of the images (every class has the same number, class after class: nothing is
    stored), stored as one class ``ids`` number per image, or stored as a row of C numbers per image, used as they are:
    ``soft`` ones, which an optimizer may move (RaT-BPTT's learned labels: their sum is the weight of the image),
    ``probabilities``, which stay as they were written, or ``centred`` ones, which sum to zero and are targets of the
    squared error (FRePo, RFAD).

    Tensors:
        images: (n, c, h', w') float32, role image.
        labels: (n,) int64 for ``ids``, (n, C) float32 for ``soft``, ``probabilities`` and
            ``centred``, role label; absent for ``order``.

    Example:
        >>> import torch
        >>> from bench import Images, Spec
        >>> stored = Images(Spec("toy", 2, (1, 8, 8), ("one", "other")), count=4, size=(4, 4), labels="soft")
        >>> stored.write(torch.rand(4, 1, 8, 8), torch.tensor([0, 0, 1, 1]))
        >>> stored.pixels, tuple(stored.decode().images.shape), stored.decode().labels[0].tolist()
        (64, (4, 1, 8, 8), [1.0, 0.0])
    """

    name: ClassVar[str] = "images"
    version: ClassVar[int] = 1
    roles: ClassVar[Mapping[str, Role]] = {"images": "image", "labels": "label"}

    def __init__(self, spec: Spec, count: int, size: tuple[int, int] | None = None, labels: LabelForm = "order") -> None:
        """Make room for ``count`` images of ``size`` (height, width), by default the size of the data set.

        Raises:
            BenchError: the form of labels does not exist, or the images cannot be labelled by order.
        """
        super().__init__()
        if labels not in get_args(LabelForm):
            raise BenchError(f"labels '{labels}' do not exist; images take {', '.join(get_args(LabelForm))}")
        if min(count, *(size or (1, 1))) < 1:
            raise BenchError(f"{count} images of {size} pixels hold nothing; ask for at least one of at least one pixel")
        if labels == "order" and (count < 1 or count % spec.classes):
            raise BenchError(f"{count} images cannot be labelled by order for {spec.classes} classes; use labels ids or soft")
        self.spec, self.size, self.label_form = spec, size or (spec.height, spec.width), labels
        self.images = nn.Parameter(torch.zeros(count, spec.channels, *self.size))
        if labels == "ids":
            self.register_buffer("labels", torch.zeros(count, dtype=torch.int64))
        elif labels in ROWS:
            self.make_rows(count)

    def config(self) -> dict[str, Any]:
        """Return count, size and form of the labels."""
        return {"count": len(self), "size": list(self.size), "labels": self.label_form}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Images:
        """Rebuild from ``config()``."""
        height, width = config["size"]
        return cls(spec, int(config["count"]), (int(height), int(width)), config["labels"])

    @classmethod
    def shapes(cls, config: Mapping[str, Any], spec: Spec) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a config."""
        height, width = config["size"]
        labels: dict[str, dict[str, tuple[int, ...]]] = {
            "order": {},
            "ids": {"labels": (config["count"],)},
            **dict.fromkeys(ROWS, {"labels": (config["count"], spec.classes)}),
        }
        return {"images": (config["count"], spec.channels, height, width), **labels[config["labels"]]}

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def class_ids(self) -> Tensor:
        """Return the (n,) class of every image; the largest target where it has a row of them."""
        if self.label_form == "ids":
            return self.get_buffer("labels")
        if self.label_form in ROWS:
            return self.get_parameter("labels").argmax(1)
        return torch.arange(self.spec.classes, device=self.images.device).repeat_interleave(len(self) // self.spec.classes)

    def decode(self, index: Tensor | None = None) -> Batch:
        """Return images (n, c, h, w), upsampled if they are stored smaller, and labels (n, C)."""
        images: Tensor = self.images if index is None else self.images[index]
        if self.size != (self.spec.height, self.spec.width):
            images = F.interpolate(images, (self.spec.height, self.spec.width), mode="bilinear", align_corners=False)
        if self.label_form in ROWS:
            labels: Tensor = self.get_parameter("labels")
        else:
            labels = F.one_hot(self.class_ids(), self.spec.classes).to(images.dtype)
        return Batch(images, labels if index is None else labels[index])

    def slots(self) -> Tensor:
        """Return the classes of the images: the same number of each, or evenly spread ones where there are fewer images."""
        if len(self) % self.spec.classes == 0:
            return super().slots()
        return torch.arange(len(self)) * self.spec.classes // len(self)

    @torch.no_grad()
    def write(self, images: Tensor, labels: Tensor) -> None:
        """Store (n, c, h, w) images, shrunk by area averaging if need be, sorted by class, with (n,) classes.

        Raises:
            ValueError: not n images, or not the same number of every class where labels go by order.
        """
        if len(images) != len(self):
            raise ValueError(f"room for {len(self)} images, found {len(images)}")
        order = labels.argsort(stable=True)
        images, labels = images[order], labels[order]
        if images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        self.images.copy_(images)
        if self.label_form == "ids":
            self.get_buffer("labels").copy_(labels)
        elif self.label_form in ROWS:
            self.write_rows(labels)
        elif not torch.equal(labels.to(self.images.device), self.class_ids()):
            raise ValueError(f"labels by order need {len(self) // self.spec.classes} images of every class")

    @torch.no_grad()
    def write_labels(self, labels: Tensor) -> None:
        """Store a (n, C) row of labels for every image.

        Raises:
            NotImplementedError: labels go by order, or are class numbers.
        """
        if self.label_form not in ROWS:
            super().write_labels(labels)
        self.get_parameter("labels").copy_(labels)


def lowres_size(pixels_per_image: int, height: int, width: int) -> tuple[int, int] | None:
    """Return the largest (h', w') of at most ``pixels_per_image`` pixels with the aspect of (height, width).

    ``h' = floor(sqrt(p·height/width))`` and ``w' = floor(p/h')``, neither larger than the full size. ``None`` if not
    even one pixel fits.

    Example:
        >>> from bench.decoders.images import lowres_size
        >>> lowres_size(30, 8, 8), lowres_size(1000, 8, 8), lowres_size(0, 8, 8)
        ((5, 6), (8, 8), None)
    """
    if pixels_per_image < 1:
        return None
    if pixels_per_image >= height * width:
        return height, width
    small = max(1, min(height, pixels_per_image, math.isqrt(pixels_per_image * height // width)))
    return small, min(width, pixels_per_image // small)
