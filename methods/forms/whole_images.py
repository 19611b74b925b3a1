"""Forms that store images one by one: full ones, one smaller image of every class, or fewer full ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench import FORMS, FormPlan, Parameterization, PlanContext, Refusal, Spec
from bench.decoders.images import Images, LabelForm, lowres_size
from bench.seeding import stream

from ._teacher import TEACHER, TaughtForm

Labels = Literal["fixed", "learned", "centred", "teacher"]
_STORED: dict[str, LabelForm] = {"learned": "soft", "centred": "centred", TEACHER: "probabilities"}


@dataclass(frozen=True, kw_only=True)
class SeparateImages(TaughtForm):
    """What these forms share: images of one size.

    Attributes:
        labels: ``fixed`` one-hot, ``learned`` (one-hot at first, kept non-negative, used unnormalised), ``centred`` (learned
            targets of the squared error, rows that sum to zero), or ``teacher``: what the feature network makes of the stored
            images, a row of probabilities each, which stay as they are.
    """

    labels: Labels = "fixed"

    def empty(self, spec: Spec, plan: FormPlan) -> Parameterization:
        """Make the images, all zero."""
        return Images(spec, plan.images, self.size(spec, plan), plan.geometry["labels"])

    def fill(self, stored: Parameterization, images: Tensor, labels: Tensor) -> None:
        """Write initial images; centred labels are one-hot ones without their mean at first, divided by √(C/10) as FRePo's."""
        super().fill(stored, images, labels)
        if self.labels == "centred":
            rows = stored.decode(None).labels
            stored.write_labels(rows / math.sqrt(rows.shape[1] / 10))

    def size(self, spec: Spec, plan: FormPlan) -> tuple[int, int]:
        """Return the size the images are stored at."""
        del spec
        height, width = plan.geometry["size"]
        return int(height), int(width)

    def planned(self, context: PlanContext, images: int, size: tuple[int, int], adapted: str = "") -> FormPlan | Refusal:
        """Return the plan of so many images of one size, the same number of every class."""
        geometry = {"size": list(size), "labels": self.label_form()}
        return self.untaught() or FormPlan(self, images, geometry, adapted)

    def as_full(self, context: PlanContext) -> FormPlan | Refusal:
        """Plan full images, which this form comes to where every class has room for one."""
        return Full(labels=self.labels, init=self.init, feature_seeds=self.feature_seeds).plan(context)

    def label_form(self, fixed: LabelForm = "order") -> LabelForm:
        """Return how labels are stored: not at all if they are ``fixed`` and classes come in order."""
        return _STORED.get(self.labels, fixed)

    def label_numbers(self, images: int, classes: int) -> int:
        """Return how many label numbers are stored beside so many images."""
        return images * classes if self.labels in _STORED else 0


@FORMS.register("full")
@dataclass(frozen=True, kw_only=True)
class Full(SeparateImages):
    """Full images, the same number of every class; what is left of a fractional number per class stays unused."""

    name: ClassVar[str] = "full"

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Take as many images of every class as fit."""
        spec, budget = context.spec, context.budget
        if not budget.images_per_class:
            need = spec.classes * spec.height * spec.width
            return Refusal(f"form=full needs {need} px on {spec.name} for an image of every class, the budget gives {budget.pixels}")
        # Labels of full images are always free, whatever they are: at most classes numbers for each that fits.
        return self.planned(context, budget.images_per_class * spec.classes, (spec.height, spec.width))


@FORMS.register("lowres")
@dataclass(frozen=True, kw_only=True)
class Lowres(SeparateImages):
    """One smaller image of every class, upsampled when it is used; from one image per class on the same as ``full``."""

    name: ClassVar[str] = "lowres"

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Take the largest size of the data set's aspect that fits once per class."""
        spec, budget = context.spec, context.budget
        if budget.images_per_class:
            return self.as_full(context)
        size = lowres_size(budget.pixels // spec.classes, spec.height, spec.width)
        if size is None:
            return Refusal(f"form=lowres needs {spec.classes} px on {spec.name}, one for each class, the budget gives {budget.pixels}")
        return self.planned(context, spec.classes, size, adapted="lowres")


@FORMS.register("subset")
@dataclass(frozen=True, kw_only=True)
class Subset(SeparateImages):
    """As many full images as fit, of some classes only; from one image per class on the same as ``full``.

    Where an objective moves the numbers, labels are learned over all classes, unless they are a teacher's, and the images
    start from evenly spread classes. A selection draws its classes and stores them, one number an image, or a teacher's labels.
    """

    name: ClassVar[str] = "subset"

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Take as many full images as fit."""
        spec, budget = context.spec, context.budget
        if budget.images_per_class:
            return self.as_full(context)
        if not budget.images:
            need = spec.height * spec.width
            return Refusal(f"form=subset needs {need} px on {spec.name} for one image, the budget gives {budget.pixels}")
        form = replace(self, labels="learned") if context.optimised and self.labels == "fixed" else self
        geometry = {
            "size": [spec.height, spec.width],
            "labels": form.label_form("ids"),
            "classes": self._classes(context),
        }
        return form.untaught() or FormPlan(form, budget.images, geometry, adapted="subset")

    def _classes(self, context: PlanContext) -> list[int]:
        classes, count = context.spec.classes, context.budget.images
        if context.optimised:
            return [i * classes // count for i in range(count)]
        drawn = torch.randperm(classes, generator=stream("subset classes", context.spec.name, context.seed))
        return sorted(drawn[:count].tolist())

    def slots(self, stored: Parameterization, plan: FormPlan) -> Tensor:
        """Return the classes that were chosen while planning."""
        del stored
        return torch.tensor(plan.geometry["classes"])
