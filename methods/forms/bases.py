"""Linear bases that all classes share: the storage of "Remember the Past" (Deng & Russakovsky, NeurIPS 2022, arXiv 2206.02916)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from bench import FORMS, FormPlan, OneOf, Parameterization, PlanContext, Refusal, Space, Spec, Task
from bench.decoders.bases import Bases
from bench.form import NOISE
from bench.search import Search

from ._equal_classes import EqualClassesForm

_FEWEST = 4  # bases, as far as smaller ones can bring that about
_FIRST_DOWNSAMPLING = 2


@FORMS.register("bases")
@dataclass(frozen=True, kw_only=True)
class LinearBases(EqualClassesForm):
    """Bases at a lower resolution, and for every image of a class one coefficient of each.

    With b bases of s numbers and C classes there is room for ⌊(numbers − b·s) / (C·b)⌋ images of every class: 115 at one image
    per class of CIFAR-10, where 16 bases of 768 numbers and 1,150 rows of 16 coefficients are 30,688 of 30,720 numbers.

    From ``init=noise`` both factors are drawn by Xavier's rule, as by the authors, from ``init=normal`` so that decoded images
    have a standard deviation of 1; from a selection of real images, one for every image that the form decodes to, bases are the
    principal components of these and coefficients their projections.

    Attributes:
        bases: number of bases; 0 gives them two fifths of the numbers, which on CIFAR-10 are the authors' 16.
        downsample: by how much a base is smaller than an image along each side; 0 is the authors' 2, or as much as it takes for 4
            bases.
    """

    name: ClassVar[str] = "bases"
    search: ClassVar[Mapping[str, Search | None]] = {"bases": OneOf(0, 4, 8, 16), "init": OneOf(NOISE, "real")}

    bases: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    downsample: Annotated[int, Field(ge=0, le=1000)] = 0

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Settle how many bases there are, of which size, and how many images of every class."""
        spec = context.spec
        if refusal := self.untaught():
            return refusal
        largest = max(spec.height, spec.width, _FIRST_DOWNSAMPLING)
        tried = [self.downsample] if self.downsample else range(_FIRST_DOWNSAMPLING, largest + 1)
        counts = {downsample: self._bases_that_fit(downsample, context) for downsample in tried}
        enough = [downsample for downsample, count in counts.items() if count >= (self.bases or _FEWEST)]
        downsample = enough[0] if enough else max(counts, key=lambda each: counts[each])
        if not counts[downsample] or (self.bases and not enough):
            return self._refusal(context, [math.prod(_shape(spec, each)) for each in tried])
        return replace(self, bases=counts[downsample], downsample=downsample)._planned(context)

    def _bases_that_fit(self, downsample: int, context: PlanContext) -> int:
        """Return how many bases there can be of one size; all of them need a coefficient for an image of every class."""
        spec, granted = context.spec, context.budget.pixels * context.spec.channels
        numbers = math.prod(_shape(spec, downsample))
        wanted = self.bases or max(1, 2 * granted // (5 * numbers))
        return min(wanted, numbers, granted // (numbers + spec.classes))

    def _refusal(self, context: PlanContext, sizes: Sequence[int]) -> Refusal:
        """Say what the smallest bases would need of which there could be as many as are asked for."""
        spec, wanted = context.spec, self.bases or 1
        if wanted > max(sizes):
            return Refusal(f"bases={wanted} are more than the {max(sizes)} numbers that one of them has on {spec.name}; ask for fewer")
        need = -(-wanted * (min(size for size in sizes if size >= wanted) + spec.classes) // spec.channels)
        return Refusal(
            f"form=bases needs {need} px on {spec.name} for bases={wanted} and their coefficients of an image of every class, the budget "
            f"{context.budget.requested} gives {context.budget.pixels}"
        )

    def _planned(self, context: PlanContext) -> FormPlan:
        shape = _shape(context.spec, self.downsample)
        each = self.images_that_fit(context, self.bases * math.prod(shape), self.bases)
        geometry = {"bases": self.bases, "per_class": each, "size": list(shape[1:]), "labels": self.label_form}
        note = f"{each} images of every class are combinations of {self.bases} bases of {shape[2]}x{shape[1]} px"
        return FormPlan(self, each * context.spec.classes, geometry, notes=(note,))

    def empty(self, spec: Spec, plan: FormPlan) -> Parameterization:
        """Make bases and coefficients, all zero."""
        return Bases.from_config(plan.geometry, spec)

    def build(self, task: Task, plan: FormPlan, space: Space | None) -> Parameterization:
        """Make the parameterization and write its initial values; noise is drawn for the factors and not for images."""
        if self.selection() is not None:
            return super().build(task, plan, space)
        stored, generator = self.empty(task.spec, plan), task.generator("initial noise")
        assert isinstance(stored, Bases)  # made by ``empty``
        stored.write_labels_of_classes()
        with torch.no_grad():
            for factor in (stored.bases, stored.coefficients):
                rows, columns = factor.flatten(1).shape
                if self.init == NOISE:
                    factor.uniform_(-1.0, 1.0, generator=generator).mul_(math.sqrt(6 / (rows + columns)))
                else:
                    factor.normal_(generator=generator)
            if self.init != NOISE:
                stored.coefficients.div_(math.sqrt(len(stored.bases)))
        return stored


def _shape(spec: Spec, downsample: int) -> tuple[int, int, int]:
    """Return channels, height and width of a base."""
    return spec.channels, -(-spec.height // downsample), -(-spec.width // downsample)
