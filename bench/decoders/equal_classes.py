"""What decoders share that have the same number of images of every class, class after class, and what labels they store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Batch, Spec
from ..errors import BenchError
from .label_rows import LabelRows

RowLabels = Literal["order", "soft", "probabilities", "centred"]


class EqualClasses(LabelRows):
    """The same number of images of every class, class after class.

    Labels are implied by the ``order`` of the images, so that nothing is stored, or a stored row of C numbers for each image, as
    those of ``bench.decoders.images``: ``soft`` (an optimizer may move them), ``probabilities`` (they stay) or ``centred``.

    Tensors:
        labels: (n, C) float32, role label; absent for ``order``.
    """

    def __init__(self, spec: Spec, per_class: int, labels: RowLabels) -> None:
        """Make room for the labels of ``per_class`` images of every class.

        Raises:
            BenchError: the form of labels does not exist, or there is no image.
        """
        super().__init__()
        if labels not in get_args(RowLabels):
            raise BenchError(f"labels '{labels}' do not exist; {self.name} takes {', '.join(get_args(RowLabels))}")
        if per_class < 1:
            raise BenchError(f"{per_class} images of a class hold nothing; ask {self.name} for at least one")
        self.spec, self.per_class, self.label_form = spec, per_class, labels
        if labels != "order":
            self.make_rows(len(self))

    @classmethod
    def label_shapes(cls, config: Mapping[str, Any], spec: Spec) -> dict[str, tuple[int, ...]]:
        """Return the shape of the stored labels of a config, by name."""
        return {} if config["labels"] == "order" else {"labels": (config["per_class"] * spec.classes, spec.classes)}

    def __len__(self) -> int:
        """Number of images."""
        return self.per_class * self.spec.classes

    @abstractmethod
    def images_at(self, index: Tensor | None) -> Tensor:
        """Decode the images (n, c, h, w) at ``index``, all of them without one."""

    @abstractmethod
    def store(self, images: Tensor) -> None:
        """Store all images (n, c, h, w), which come class after class, as well as the stored numbers can hold them."""

    def decode(self, index: Tensor | None = None) -> Batch:
        """Return images (n, c, h, w) and labels (n, C)."""
        images = self.images_at(index)
        if self.label_form == "order":
            labels = F.one_hot(self.slots().to(images.device), self.spec.classes).to(images.dtype)
        else:
            labels = self.get_parameter("labels")
        return Batch(images, labels if index is None else labels[index])

    @torch.no_grad()
    def write(self, images: Tensor, labels: Tensor) -> None:
        """Store (n, c, h, w) images with (n,) classes, sorted by class.

        Raises:
            ValueError: not the same number of every class.
        """
        order = labels.argsort(stable=True)
        if not torch.equal(labels[order].cpu(), self.slots()):
            raise ValueError(f"room for {self.per_class} images of each of {self.spec.classes} classes, found {len(images)} in all")
        self.store(images[order])
        self.write_labels_of_classes()

    @torch.no_grad()
    def write_labels_of_classes(self) -> None:
        """Give every image the label of its class, where labels are stored."""
        if self.label_form != "order":
            self.write_rows(self.slots())

    @torch.no_grad()
    def write_labels(self, labels: Tensor) -> None:
        """Store a (n, C) row of labels for every image.

        Raises:
            NotImplementedError: labels go by order.
        """
        if self.label_form == "order":
            super().write_labels(labels)
        self.get_parameter("labels").copy_(labels)
