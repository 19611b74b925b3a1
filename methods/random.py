"""Random real images: the reference that every distilled set has to beat at equal pixels.

No paper; every comparison of the field has it, usually for one image per class and full images only. Here it comes in
forms that spend a budget differently, so that no method looks good merely because its storage is clever:

* ``full``: random images, the same number of every class (from 1 image per class on);
* ``lowres``: one smaller image of every class, upsampled when used;
* ``tiles``: several still smaller ones of every class (the storage of IDC, Kim et al. 2022);
* ``subset``: as many full images as fit, of randomly chosen classes, one-hot labels;
* ``mosaic``: one poster of shrunk images, one per class, cut into PoDD's overlapping patches.

Images are stored as plain RGB and seen by the student through the pixel space, as real images are.

Stored: the pixels; class ids for ``subset`` (one number an image), no labels otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import METHODS, Budget, DistilledSet, Method, Parameterization, PlanContext, Resolution, Spec, Task, TrainRecipe
from bench.decoders.images import Images, lowres_size
from bench.decoders.poster import PatchLabels, Poster
from bench.decoders.poster_layout import PosterLayout, parse_patch_grid, plan_layout, starts
from bench.nn.spaces import default_space
from bench.train_recipe import Optimizer, Schedule

from .forms.whole_images import ImagePlan, no_room, plan_images

Form = Literal["auto", "full", "lowres", "tiles", "subset", "mosaic"]


@METHODS.register("random")
@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Random training images in one of five forms.

    Attributes:
        images: the form; ``auto`` is full from one image per class on and lowres below.
        tiles: images per class of the form ``tiles``.
        patches: patch grid of ``mosaic``, columns x rows.
        labels: labels of the patches of ``mosaic``.
        optimizer: of the student, as all that follows.
        lr: learning rate.
        schedule: of the learning rate.
        steps: training steps.
        batch_size: images per step; 0 takes all.
        augmentation: strategy; ``auto`` is everything that keeps the class.
        space: pixel space; ``auto`` is zca_kip on colour images and standard on grey ones.
    """

    name: ClassVar[str] = "random"
    version: ClassVar[int] = 1
    reference: ClassVar[str] = "none (uniform choice of real images; tiles: Kim et al., IDC, ICML 2022, arXiv 2205.14959)"
    reference_forms: ClassVar[tuple[dict[str, Any], ...]] = tuple({"images": form} for form in ("lowres", "tiles", "subset", "mosaic"))

    images: Form = "auto"
    tiles: int = 4
    patches: str = "16x6"
    labels: PatchLabels = "proportional"
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    schedule: Schedule = "constant"
    steps: int = 300
    batch_size: int = 0
    augmentation: str = "auto"
    space: str = "auto"

    def refuses(self, spec: Spec, budget: Budget) -> str | None:
        """Refuse budgets that do not hold one image of the form."""
        if self.images == "mosaic":
            if self._layout(spec, budget):
                return None
            return f"a mosaic needs one patch of {spec.height * spec.width} px on {spec.name}, the budget gives {budget.pixels}"
        if self.images == "tiles" and self.tiles < 1:
            return f"tiles is {self.tiles}; every class needs at least one image"
        if self._plan(spec, budget):
            return None
        if self.images == "tiles":
            return f"{self.tiles} tiles per class need {self.tiles * spec.classes} px on {spec.name}, the budget gives {budget.pixels}"
        return no_room(self.images, spec, budget)

    def resolve(self, context: PlanContext) -> Resolution:
        """Settle ``auto`` choices and mark the adaptation below one image per class."""
        settled = self._settle(context.spec, context.budget)
        return Resolution(settled, adapted=settled.images if settled.images in ("lowres", "subset") else "")

    def _settle(self, spec: Spec, budget: Budget) -> Random:
        """Replace ``auto`` choices; forms that come to the same thing get the same name."""
        everything = ["color"] * (spec.channels == 3) + ["crop", "cutout"] + ["flip"] * spec.mirror + ["scale", "rotate"]
        settled = replace(
            self,
            augmentation="_".join(everything) if self.augmentation == "auto" else self.augmentation,
            space=default_space(spec) if self.space == "auto" else self.space,
        )
        if self.images in ("tiles", "mosaic"):
            return settled
        plan = self._plan(spec, budget)
        assert plan is not None  # refuses() was asked first
        # Fields of the other forms must not make equal sets look different.
        return replace(settled, images=plan.form, tiles=4, patches="16x6", labels="proportional")

    def _plan(self, spec: Spec, budget: Budget) -> ImagePlan | None:
        """Return number and size of separate images; tiles are smaller images of which every class has several."""
        if self.images == "tiles":
            size = lowres_size(budget.pixels // (spec.classes * self.tiles), spec.height, spec.width)
            return ImagePlan("lowres", spec.classes * self.tiles, size) if size else None
        return None if self.images == "mosaic" else plan_images(self.images, spec, budget)

    def distill(self, task: Task) -> DistilledSet:
        """Draw the images and write them down."""
        method = self._settle(task.spec, task.budget)
        stored = method._mosaic(task) if method.images == "mosaic" else method._separate(task)
        recipe = TrainRecipe(
            optimizer=method.optimizer,
            lr=method.lr,
            steps=method.steps,
            batch_size=method.batch_size,
            schedule=method.schedule,
            augmentation=method.augmentation,
            momentum=0.9 if method.optimizer == "sgd" else 0.0,
        )
        return DistilledSet(task.spec, stored, recipe, space=method.space, coordinates="rgb")

    def presented_examples(self, spec: Spec, budget: Budget) -> int:
        """Return how many images a student is shown."""
        layout, plan = self._layout(spec, budget), self._plan(spec, budget)
        count = plan.count if plan else len(layout.patches()) if layout else 0
        return self.steps * min(self.batch_size or count, count)

    def _layout(self, spec: Spec, budget: Budget) -> PosterLayout | None:
        return plan_layout(budget.pixels, spec.classes, (spec.height, spec.width), parse_patch_grid(self.patches, "random"))

    def _separate(self, task: Task) -> Parameterization:
        """Store separate images: full, lowres, tiles or subset."""
        classes = task.spec.classes
        plan = self._plan(task.spec, task.budget)
        assert plan is not None
        if self.images == "subset":
            labels = torch.randperm(classes, generator=task.generator("classes"))[: plan.count].sort().values
        else:
            labels = torch.arange(classes).repeat_interleave(plan.count // classes)
        stored = Images(task.spec, plan.count, plan.size, "ids" if self.images == "subset" else "order")
        stored.write(draw_images(task, labels), labels)
        return stored

    def _mosaic(self, task: Task) -> Parameterization:
        """Tile a poster with one shrunk image of every class, in the order of the classes."""
        layout = self._layout(task.spec, task.budget)
        assert layout is not None
        images = draw_images(task, torch.arange(task.spec.classes))
        poster = Poster(task.spec, layout, range(task.spec.classes), self.labels)
        columns, rows = (_bounds(layout.size[1], layout.class_grid[0]), _bounds(layout.size[0], layout.class_grid[1]))
        with torch.no_grad():
            for cell, image in enumerate(images):
                row, column = divmod(cell, layout.class_grid[0])
                (top, bottom), (left, right) = rows[row], columns[column]
                shrunk = F.interpolate(image[None], (bottom - top, right - left), mode="bilinear", align_corners=False, antialias=True)
                poster.poster[:, top:bottom, left:right] = shrunk[0]
        return poster


def draw_images(task: Task, labels: Tensor) -> Tensor:
    """Draw one random training image for every entry of ``labels`` (n,), without repetition: (n, c, h, w) in [0, 1]."""
    generator, chosen = task.generator("images"), []
    for label in labels.unique_consecutive():
        members, wanted = task.train.of_class(int(label)), int((labels == label).sum())
        order = torch.randperm(len(members), generator=generator)
        chosen.append(members[order.repeat(-(-wanted // len(members)))[:wanted]])
    return task.train.unit_images(torch.cat(chosen))


def _bounds(length: int, parts: int) -> list[tuple[int, int]]:
    """Cut ``length`` pixels into ``parts`` pieces of nearly equal size: (start, end) of each."""
    edges = starts(length, 0, parts + 1)
    return list(zip(edges, edges[1:], strict=False))
