"""A poster that is tiled with one shrunk image of every class: what a poster of real images looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from bench import FORMS, FormPlan, Parameterization, PlanContext, Refusal
from bench.decoders.poster import PatchLabels, Poster
from bench.decoders.poster_layout import starts

from .poster import PatchedPoster


@FORMS.register("mosaic")
@dataclass(frozen=True, kw_only=True)
class Mosaic(PatchedPoster):
    """A poster cut into as many rectangles as there are classes, in the order of the classes."""

    name: ClassVar[str] = "mosaic"

    labels: PatchLabels = "proportional"

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Settle size and grids."""
        layout = self.layout(context)
        if isinstance(layout, Refusal):
            return layout
        return self.planned(layout, list(range(context.spec.classes)), needs=self.selection_needs(context.seed))

    def fill(self, stored: Parameterization, images: Tensor, labels: Tensor) -> None:
        """Shrink every image into the rectangle of its class."""
        assert isinstance(stored, Poster)  # made by ``empty``
        layout = stored.layout
        columns, rows = (_bounds(layout.size[1], layout.class_grid[0]), _bounds(layout.size[0], layout.class_grid[1]))
        for label, image in zip(labels.tolist(), images, strict=True):
            row, column = divmod(label, layout.class_grid[0])
            (top, bottom), (left, right) = rows[row], columns[column]
            shrunk = F.interpolate(image[None], (bottom - top, right - left), mode="bilinear", align_corners=False, antialias=True)
            stored.poster[:, top:bottom, left:right] = shrunk[0]


def _bounds(length: int, parts: int) -> list[tuple[int, int]]:
    """Cut ``length`` pixels into ``parts`` pieces of nearly equal size: (start, end) of each."""
    edges = starts(length, 0, parts + 1)
    return list(zip(edges, edges[1:], strict=False))
