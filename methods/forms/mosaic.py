"""A poster that is tiled with one shrunk image of every class: what a poster of real images looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench import FORMS, FormPlan, Parameterization, PlanContext, Refusal
from bench.decoders.poster import Poster
from bench.decoders.poster_blend import tiled_area
from bench.decoders.poster_layout import pieces

from .poster import Labels, PatchedPoster


@FORMS.register("mosaic")
@dataclass(frozen=True, kw_only=True)
class Mosaic(PatchedPoster):
    """A poster cut into as many rectangles as there are classes, in the order of the classes."""

    name: ClassVar[str] = "mosaic"

    labels: Labels = "proportional"

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Settle size and grids."""
        layout = self.layout(context)
        if isinstance(layout, Refusal):
            return layout
        return self.planned(layout, list(range(context.spec.classes)))

    def fill(self, stored: Parameterization, images: Tensor, labels: Tensor) -> None:
        """Shrink the images of a class into its rectangle: one, or several above one image per class."""
        assert isinstance(stored, Poster)  # made by ``empty``
        layout = stored.layout
        columns, rows = (pieces(layout.size[1], layout.class_grid[0]), pieces(layout.size[0], layout.class_grid[1]))
        for label in range(len(rows) * len(columns)):
            row, column = divmod(label, layout.class_grid[0])
            (top, bottom), (left, right) = rows[row], columns[column]
            area = tiled_area(images[labels == label], layout.images_per_area, (bottom - top, right - left))
            stored.poster[:, top:bottom, left:right] = area
