"""The recipes that papers judge their sets with, imposed on any set. Free of torch; docs/protocols.md has the source of each choice."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..train_recipe import Loss, Optimizer, Schedule, TrainRecipe

if TYPE_CHECKING:  # it brings torch
    from ..data import Spec


@dataclass(frozen=True)
class PublishedRecipe:
    """How students are trained on every set under a protocol that a paper published with.

    A student walks through the decoded images in epochs: each shows every image once, in an order of its own, in batches of which the
    last may be smaller. Where a paper counts epochs, the number of steps follows from the number of images.

    Attributes:
        paper: its method's name, by which a data set says that the paper makes an exception of it (``Spec.exceptions``).
        optimizer: as in ``TrainRecipe``.
        lr: learning rate; ``None`` is the rate of the set's own recipe.
        momentum: of ``sgd``.
        weight_decay: added to the gradient.
        schedule: as in ``TrainRecipe``; ``step`` counts epochs.
        batch_size: images per step; 0 means all of them.
        epochs: walks through the set; 0 where steps are counted.
        steps: pairs (images, steps), ascending: a set takes the steps of the first pair that has at least as many images as it, the
            largest sets those of the last pair. Empty where epochs are counted.
        augmentation_mirror: strategy where a left-right flip keeps the class.
        augmentation_upright: strategy where it does not (digits, letters).
        loss: as in ``TrainRecipe``; ``None`` is the loss of the set's own recipe, for which its labels were made.
        exceptional_epochs: in place of ``epochs`` on data sets of which the paper makes an exception.
        exceptional_augmentation: in place of both strategies on these.

    Example:
        >>> from bench import Spec, TrainRecipe
        >>> from bench.judge.published import PublishedRecipe
        >>> recipe = PublishedRecipe("toy", "sgd", lr=0.01, batch_size=256, epochs=300)
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> recipe.train_recipe(TrainRecipe(), spec, images=300).steps, recipe.presented(spec, images=300)
        (600, 90000)
    """

    paper: str
    optimizer: Optimizer
    lr: float | None
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    batch_size: int = 0
    epochs: int = 0
    steps: tuple[tuple[int, int], ...] = ()
    augmentation_mirror: str = "none"
    augmentation_upright: str = "none"
    loss: Loss | None = None
    exceptional_epochs: int = 0
    exceptional_augmentation: str = ""

    def train_recipe(self, own: TrainRecipe, spec: Spec, images: int) -> TrainRecipe:
        """Return the recipe of students on a set.

        Args:
            own: the set's own recipe, of which the loss, and a rate that the paper learns, are kept.
            spec: the data set.
            images: how many images the set decodes to.
        """
        augmentation = self.augmentation_mirror if spec.mirror else self.augmentation_upright
        if self.paper in spec.exceptions:
            augmentation = self.exceptional_augmentation
        return TrainRecipe(
            optimizer=self.optimizer,
            lr=own.lr if self.lr is None else self.lr,
            steps=self._steps(spec, images),
            batch_size=self.batch_size,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            augmentation=augmentation,
            loss=own.loss if self.loss is None else self.loss,
        )

    def presented(self, spec: Spec, images: int) -> int:
        """Return how many images one student is shown, those of every epoch counted again."""
        size = min(self.batch_size or images, images)
        whole, rest = divmod(self._steps(spec, images), self._steps_of_an_epoch(images))
        return whole * images + rest * size

    def _steps(self, spec: Spec, images: int) -> int:
        if self.steps:
            return next((steps for most, steps in self.steps if images <= most), self.steps[-1][1])
        epochs = self.exceptional_epochs if self.paper in spec.exceptions else self.epochs
        return epochs * self._steps_of_an_epoch(images)

    def _steps_of_an_epoch(self, images: int) -> int:
        return math.ceil(images / min(self.batch_size or images, images))


#: DC: 300 epochs without augmentation; on MNIST 1,000 with DC's own, one operation per image.
DC = PublishedRecipe(
    "DC",
    "sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    batch_size=256,
    epochs=300,
    exceptional_epochs=1000,
    exceptional_augmentation="each_pad_resize_turn",
)

#: DSA: 1,000 epochs, one of its operations per batch with parameters of their own for every image.
DSA = PublishedRecipe(
    "DSA",
    "sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    batch_size=256,
    epochs=1000,
    augmentation_mirror="color_crop_cutout_flip_scale_rotate",
    augmentation_upright="color_crop_cutout_scale_rotate",
)

#: MTT: as DSA at the learned rate.
MTT = replace(DSA, paper="MTT", lr=None)

#: RaT-BPTT: 600 of the numbers of steps that the authors look at; all images in every step.
RAT = PublishedRecipe("RaT-BPTT", "adam", lr=1e-3, steps=((1, 600),), augmentation_mirror="flip_rotate", augmentation_upright="rotate")

#: FRePo: squared error, and steps by the number of images; between the authors' numbers the next larger one.
FREPO = PublishedRecipe(
    "FRePo",
    "adam",
    lr=3e-4,
    schedule="warmup_cosine",
    batch_size=500,
    steps=((10, 1000), (100, 2000), (200, 20000), (400, 5000), (500, 5000), (1000, 10000), (2000, 40000), (5000, 40000)),
    augmentation_mirror="flip_tint_zoom_rotate_translate_hole",
    augmentation_upright="tint_zoom_rotate_translate_hole",
    loss="mse",
)
