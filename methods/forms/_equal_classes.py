"""What forms share that store the same number of images of every class as fewer numbers than they have pixels."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from bench import PlanContext
from bench.decoders.equal_classes import RowLabels

from ._teacher import TEACHER, TaughtForm

Labels = Literal["fixed", "learned", "teacher"]
_STORED: dict[str, RowLabels] = {"learned": "soft", TEACHER: "probabilities"}


@dataclass(frozen=True, kw_only=True)
class EqualClassesForm(TaughtForm):
    """A form that spends some numbers once and some for each image.

    Attributes:
        labels: ``fixed`` one-hot, ``learned`` (one-hot at first, kept non-negative, used unnormalised), or ``teacher``: what
            the feature network makes of the filled form's images, a row of probabilities each, which stay as they are. Where images
            are stored in another space than plain pixels, the form is filled a second time with plain ones for it, whose bases or
            frequencies are those of plain pixels.
    """

    labels: Labels = "fixed"

    @property
    def label_form(self) -> RowLabels:
        """How the decoder stores labels."""
        return _STORED.get(self.labels, "order")

    def images_that_fit(self, context: PlanContext, once: int, each: int) -> int:
        """Return how many images of every class fit into the budget, labels that are charged included.

        Args:
            context: data set and budget.
            once: numbers that are stored whatever the number of images.
            each: numbers of one image beside its labels.
        """
        classes, budget = context.spec.classes, context.budget
        granted = budget.pixels * context.spec.channels

        def too_many(per_class: int) -> bool:
            images = per_class * classes
            rows = 0 if self.label_form == "order" else images * classes
            return once + images * each + budget.charged_labels(rows) > granted

        candidates = range(1, max(0, granted - once) // (classes * each) + 1)
        return bisect_left(candidates, True, key=too_many)
