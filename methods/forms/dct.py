"""A few frequencies of every class: the storage of FreD (Shin et al., NeurIPS 2023, arXiv 2311.08819)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import FORMS, SELECTIONS, FormPlan, OneOf, Parameterization, PlanContext, Refusal, Space, Spec, Task
from bench.decoders.dct import MOST_PLACES, Frequencies, lowest_first, spectrum
from bench.fields import named_in
from bench.form import NOISE, NORMAL
from bench.search import Search

from ._equal_classes import EqualClassesForm

_FEWEST = 16  # frequencies, where nobody asks for another number
_AT_ONCE = 512  # training images whose spectrum is taken together


@FORMS.register("dct")
@dataclass(frozen=True, kw_only=True)
class ClassFrequencies(EqualClassesForm):
    """Several images of every class by their coefficients at the frequencies that vary most over its training images.

    Where a frequency lies is one number for each class, and charged, so that at one image per class of CIFAR-10 there is room for
    15 images of every class with 64 frequencies, where the paper, which does not count it, says 16.

    Attributes:
        init: as for every form, and real images by default, as in the paper.
        frequencies: of every class; 0 is a sixteenth of them all, which on CIFAR-10 is the paper's 64, but at least 16, or fewer where
            there would be no room for an image of every class.
        chosen_by: ``variance`` over the training images of the class, as in the paper, or ``energy``, the mean square. Of a frequency
            that all images of a class have in common only the latter sees anything; without it images lose what their class has
            in common, which matters where classes are as alike as digits in a frame.
    """

    name: ClassVar[str] = "dct"
    search: ClassVar[Mapping[str, Search | None]] = {"frequencies": OneOf(0, 8, 16, 32), "chosen_by": OneOf("variance", "energy")}

    init: Annotated[str, named_in("selection", SELECTIONS, (NOISE, NORMAL, "real"))] = "real"
    frequencies: Annotated[int, Field(ge=0, le=MOST_PLACES)] = 0
    chosen_by: Literal["variance", "energy"] = "variance"

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Settle how many frequencies there are, and how many images of every class."""
        spec, budget = context.spec, context.budget
        if refusal := self.untaught():
            return refusal
        places = spec.height * spec.width
        if places > MOST_PLACES:
            return Refusal(f"form=dct numbers the places of at most {MOST_PLACES} px, an image of {spec.name} has {places}")
        # One image of every class: a place and a coefficient of each channel for each frequency.
        most = min(places, budget.pixels * spec.channels // (spec.classes * (1 + spec.channels)))
        count = self.frequencies or min(max(_FEWEST, places // 16), most)
        if not 1 <= count <= most:
            wanted = max(1, count)
            need = -(-wanted * spec.classes * (1 + spec.channels) // spec.channels)
            return Refusal(
                f"form=dct needs {need} px on {spec.name} for {wanted} of {places} frequencies of an image of every class, and where they "
                f"lie, the budget {budget.requested} gives {budget.pixels}"
            )
        each = self.images_that_fit(context, spec.classes * count, spec.channels * count)
        geometry = {"frequencies": count, "per_class": each, "labels": self.label_form}
        note = f"{each} images of every class have {count} of {places} frequencies"
        return FormPlan(replace(self, frequencies=count), each * spec.classes, geometry, notes=(note,))

    def empty(self, spec: Spec, plan: FormPlan) -> Parameterization:
        """Make coefficients, all zero, of the lowest frequencies."""
        return Frequencies.from_config(plan.geometry, spec)

    def look(self, stored: Parameterization, task: Task, space: Space | None) -> None:
        """Choose the frequencies."""
        assert isinstance(stored, Frequencies)  # made by ``empty``
        variance, energy = variance_and_energy(task, space)
        order = lowest_first(task.spec.height, task.spec.width)
        ranked = (variance if self.chosen_by == "variance" else energy)[:, order].argsort(dim=1, descending=True, stable=True)
        stored.choose(order[ranked[:, : stored.coefficients.shape[2]]])


def variance_and_energy(task: Task, space: Space | None) -> tuple[Tensor, Tensor]:
    """Return variance and mean square of each frequency over the training images of each class, summed over channels.

    Both are (C, h·w) float64. Where images are alike to rounding nothing varies, so that of equal frequencies the lowest ones can
    be taken.
    """
    spec = task.spec
    counts = task.train.labels.bincount(minlength=spec.classes).clamp(min=1).double().view(-1, 1, 1)
    sums, squares = (torch.zeros(spec.classes, spec.channels, spec.height * spec.width, dtype=torch.float64) for _ in range(2))
    for index in torch.arange(len(task.train)).split(_AT_ONCE):
        images = task.train.unit_images(index)
        found = spectrum((images if space is None else space.transform(images)).double()).flatten(2)
        sums.index_add_(0, task.train.labels[index], found)
        squares.index_add_(0, task.train.labels[index], found.square())
    energy = squares / counts
    spread = energy - (sums / counts).square()
    return torch.where(spread > 1e-9 * energy, spread, torch.zeros_like(spread)).sum(1), energy.sum(1)
