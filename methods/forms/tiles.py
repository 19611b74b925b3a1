"""Several smaller images of every class: the storage of IDC (Kim et al., ICML 2022, arXiv 2205.14959)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from bench import FORMS, FormPlan, PlanContext, Refusal
from bench.decoders.images import lowres_size

from .whole_images import SeparateImages


@FORMS.register("tiles")
@dataclass(frozen=True, kw_only=True)
class Tiles(SeparateImages):
    """Smaller images, several of every class, upsampled when they are used.

    Attributes:
        tiles: images per class; more are taken where so many full ones would not fill the budget.
    """

    name: ClassVar[str] = "tiles"

    tiles: int = 4

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Take the largest size that fits so often, or more images where that would be larger than a full one."""
        spec, budget = context.spec, context.budget
        if self.tiles < 1:
            return Refusal(f"tiles is {self.tiles}; every class needs at least one image")
        # This ends, because every further tile makes all of them smaller.
        for tiles in count(self.tiles):
            labels = tiles * spec.classes**2 if self.labels == "learned" else 0
            each = budget.pixels_beside_labels(labels, spec.channels) // (spec.classes * tiles)
            if each <= spec.height * spec.width:
                break
        size = lowres_size(each, spec.height, spec.width)
        if size is None:
            need = self.tiles * spec.classes
            return Refusal(f"{self.tiles} tiles per class need {need} px on {spec.name}, the budget gives {budget.pixels}")
        if size == (spec.height, spec.width):
            return self.as_full(context)
        return replace(self, tiles=tiles).planned(context, tiles * spec.classes, size)
