"""How methods that keep whole images fit a budget: full images, smaller ones, or fewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench import Budget, Spec
from bench.decoders.images import lowres_size

ImageForm = Literal["auto", "full", "lowres", "subset"]


@dataclass(frozen=True)
class ImagePlan:
    """A number of images and their size.

    Attributes:
        form: ``full`` (the same number of full images for every class), ``lowres`` (one smaller image per class) or
            ``subset`` (as many full images as fit).
        count: number of images.
        size: (height, width) they are stored at.
    """

    form: Literal["full", "lowres", "subset"]
    count: int
    size: tuple[int, int]

    @property
    def adapted(self) -> str:
        """The mark for tables: empty for full images."""
        return "" if self.form == "full" else self.form


def plan_images(form: ImageForm, spec: Spec, budget: Budget) -> ImagePlan | None:
    """Settle on images for a budget; ``auto`` is full images from one per class on and lowres below.

    Where every class can have a full image, ``lowres`` and ``subset`` are the same as ``full``; above one image per
    class whole images are rounded down and the rest of the budget stays unused.

    Returns:
        The plan, or ``None`` if the budget does not hold a single image of that form.
    """
    full = (spec.height, spec.width)
    if budget.images_per_class >= 1:
        return ImagePlan("full", budget.images_per_class * spec.classes, full)
    if form == "full":
        return None
    if form == "subset":
        return ImagePlan("subset", budget.images, full) if budget.images else None
    size = lowres_size(budget.pixels // spec.classes, spec.height, spec.width)
    return ImagePlan("lowres", spec.classes, size) if size else None


def no_room(form: str, spec: Spec, budget: Budget) -> str:
    """Say why nothing fits, for ``Method.refuses``."""
    if form in ("full", "subset"):
        need = spec.height * spec.width * (spec.classes if form == "full" else 1)
        return f"images={form} needs at least {need} px on {spec.name}, the budget {budget.requested} gives {budget.pixels}"
    return f"one pixel per class needs {spec.classes} px on {spec.name}, the budget {budget.requested} gives {budget.pixels}"
