"""What objectives share that compare real and distilled images class by class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from bench import Batch, Objective, OuterGradient, Parameterization, Run, Streams, Student, Task
from bench.nn.augment import draw
from bench.nn.real import RealImages
from bench.nn.student import Strategy, settle_strategy


@dataclass(frozen=True)
class ClassPart:
    """The distilled images of one class.

    Attributes:
        label: the class.
        index: (m,) which images belong to it, wholly or in part.
        images: (m, c, h, w), differentiable.
        weights: (m,) the class's share of their labels, which sum to one; differentiable where labels are.
    """

    label: int
    index: Tensor
    images: Tensor
    weights: Tensor

    def targets(self, classes: int) -> Tensor:
        """Return (m, classes) labels whose mean cross-entropy is the weighted mean of −log p of this class."""
        column = torch.zeros(classes, dtype=self.weights.dtype, device=self.weights.device)
        column[self.label] = len(self.weights)
        return self.weights.unsqueeze(1) * column


def class_parts(batch: Batch, most: int, generator: torch.Generator) -> Iterator[ClassPart]:
    """Take a decoded set apart by class: an image belongs to every class that has a part in its label.

    A hard-labelled set is thus cut into its classes, and every image weighs the same. Classes without any share are left
    out.

    Args:
        batch: the decoded set, labels not negative.
        most: at most so many images of a class, drawn at random; 0 takes all.
        generator: for that draw.
    """
    shares = batch.labels.detach()
    for label in range(shares.shape[1]):
        index = torch.nonzero(shares[:, label] > 0).flatten()
        if 0 < most < len(index):
            index = index[torch.randperm(len(index), generator=generator)[:most].to(index.device)]
        if len(index):
            column = batch.labels[index, label]
            yield ClassPart(label, index, batch.images[index], column / column.sum())


def siamese(strategy: str, shape: tuple[int, int, int], generator: torch.Generator, *groups: Tensor) -> list[Tensor]:
    """Augment groups of (n, c, h, w) images by one operation with one set of parameters (DSA, Zhao & Bilen 2021)."""
    drawn = draw(strategy, 1, shape, generator)
    return [drawn.repeated(len(images))(images) for images in groups]


@dataclass(frozen=True)
class Leaves:
    """A decoded set whose gradients are gathered class by class and then carried back in one go.

    Decoding is differentiated once, whatever the number of classes.

    Attributes:
        batch: images and labels as leaves of the graphs of the classes.
        decoded: the same, as they hang on the stored tensors.
    """

    batch: Batch
    decoded: Batch

    @classmethod
    def of(cls, stored: Parameterization) -> Leaves:
        """Decode the whole set."""
        decoded = stored.decode(None)
        images, labels = (part.detach().requires_grad_(part.requires_grad) for part in (decoded.images, decoded.labels))
        return cls(Batch(images, labels), decoded)

    def carried_back(self, stored: Parameterization) -> dict[str, Tensor]:
        """Return the gradients of the stored tensors, from what the leaves have gathered in ``grad``."""
        pairs = [(self.decoded.images, self.batch.images.grad), (self.decoded.labels, self.batch.labels.grad)]
        known = [(root, gradient) for root, gradient in pairs if gradient is not None]
        trained = stored.trained()
        flowing = torch.autograd.grad([r for r, _ in known], list(trained.values()), [g for _, g in known], allow_unused=True)
        return {name: gradient for name, gradient in zip(trained, flowing, strict=True) if gradient is not None}


#: From real images of a class and its distilled ones, augmented alike, and what the latter are part of, to how far they are
#: apart; the gradient of images and labels is left in their leaves.
Match = Callable[[Batch, Tensor, ClassPart], float]


@dataclass(frozen=True, kw_only=True)
class ByClass(Objective):
    """An objective that compares real and distilled images class by class.

    Attributes:
        class_batch: real images of every class per outer step.
        distilled_batch: at most so many distilled images of a class per outer step; 0 takes all.
        siamese: augmentation strategy of which one operation with one set of parameters is applied to the real and the
            distilled images of a class alike (DSA); ``all`` is every operation that keeps the class.
    """

    by_class: ClassVar[bool] = True

    class_batch: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    distilled_batch: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    siamese: Strategy = "none"


Kind = TypeVar("Kind", bound=ByClass)


class ByClassRun(Run, Generic[Kind]):
    """Such an objective at work on one cell: draws real images, augments, and goes through the classes."""

    def __init__(self, objective: Kind, task: Task, student: Student, *streams: str) -> None:
        """Put real images and streams in place; ``student`` must be settled, ``streams`` are those of the objective itself."""
        self.objective, self.task = objective, task
        self.siamese = settle_strategy(objective.siamese, task.spec)
        self.real = RealImages.of(task.spec, task.train, task.space(student.space), task.device)
        self.architecture = student.build(task.spec)
        self.streams = Streams(task, "real batch", "distilled batch", "siamese augmentation", *streams)

    @abstractmethod
    def matcher(self, stored: Parameterization) -> Match:
        """Settle the network of one outer step, and return what compares the images of a class in it."""

    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        """Compare every class, and carry what the distilled images should do back into the stored tensors."""
        del progress
        leaves, match, total = Leaves.of(stored), self.matcher(stored), 0.0
        for part in class_parts(leaves.batch, self.objective.distilled_batch, self.streams["distilled batch"]):
            real = self.real.draw_class(part.label, self.objective.class_batch, self.streams["real batch"])
            if len(real.images):  # a class without training images has nothing to match
                stream = self.streams["siamese augmentation"]
                augmented, images = siamese(self.siamese, self.task.spec.shape, stream, real.images, part.images)
                total += match(Batch(augmented, real.labels), images, part)
        return OuterGradient(total, leaves.carried_back(stored))
