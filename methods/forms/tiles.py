"""Several smaller images of every class: the storage of IDC (Kim et al., ICML 2022, arXiv 2205.14959)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from bench import FORMS, FormPlan, OneOf, PlanContext, Refusal
from bench.decoders.images import lowres_size
from bench.search import Search

from .whole_images import SeparateImages


@FORMS.register("tiles")
@dataclass(frozen=True, kw_only=True)
class Tiles(SeparateImages):
    """Smaller images, several of every class, upsampled when they are used.

    Attributes:
        tiles: images per class; more are taken where so many full ones would not fill the budget.
    """

    name: ClassVar[str] = "tiles"
    search: ClassVar[Mapping[str, Search | None]] = {"tiles": OneOf(2, 4, 9)}

    tiles: Annotated[int, Field(ge=1, le=1_000_000)] = 4

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Take the largest size that fits so often, or more images where that would be larger than a full one."""
        spec, budget = context.spec, context.budget

        def room(tiles: int) -> int:
            """Return the pixels that labels leave for all images."""
            return budget.pixels_beside_labels(self.label_numbers(tiles * spec.classes, spec.classes), spec.channels)

        def each(tiles: int) -> int:
            """Return the pixels of one image; the more there are, the smaller they are."""
            return room(tiles) // (spec.classes * tiles)

        area = spec.height * spec.width
        enough = budget.pixels // (spec.classes * area) + 1  # so many are smaller than full images in any case
        candidates = range(self.tiles, max(self.tiles, enough) + 1)
        tiles = candidates[bisect_left(candidates, True, key=lambda count: each(count) <= area)]
        size = lowres_size(each(tiles), spec.height, spec.width)
        if size is None:
            need = tiles * spec.classes
            return Refusal(
                f"{tiles} tiles per class need {need} px on {spec.name}, the budget {budget.requested} leaves {room(tiles)} for them"
            )
        if size == (spec.height, spec.width):
            return self.as_full(context)
        return replace(self, tiles=tiles).planned(context, tiles * spec.classes, size)
