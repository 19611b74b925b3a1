"""A stored form: how a budget becomes geometry and initial values, or a refusal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from .data import Spec
from .fields import named_in
from .method import PlanContext, Refusal, Task
from .parameterization import Parameterization
from .prerequisite import Need
from .registry import SELECTIONS
from .search import Search
from .selection import Select, checked, feature_seed, features_need, read_features, uses_features
from .space import Space

#: ``Form.init``: unit-norm Gaussian noise instead of real images.
NOISE = "noise"
#: ``Form.init``: Gaussian noise with standard deviation 1 in every pixel.
NORMAL = "normal"


@dataclass(frozen=True)
class FormPlan:
    """A budget turned into geometry.

    Attributes:
        form: the form with every ``auto`` settled. It may be another one: where every class can have a full image,
            smaller images *are* full images.
        images: number of images that the stored numbers decode to.
        geometry: plain JSON from which ``Form.empty`` makes the parameterization.
        adapted: how whole images cope below one image per class (``lowres``, ``subset``), or empty.
        external: what is used from outside the training data, or empty.
        notes: sentences for the record.
        needs: prerequisites that ``empty`` or ``fill`` will open, beside those of the selection.

    Example:
        >>> from bench import FORMS, BudgetRequest, PlanContext, Spec, registry
        >>> registry.discover()
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> plan = FORMS["lowres"]().plan(PlanContext(spec, BudgetRequest.parse("0.5").resolve(2, 8, 8)))
        >>> plan.images, plan.geometry, plan.adapted
        (2, {'size': [5, 6], 'labels': 'order'}, 'lowres')
    """

    form: Form
    images: int
    geometry: Mapping[str, Any] = field(default_factory=dict)
    adapted: str = ""
    external: str = ""
    notes: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Form(ABC):
    """A way to spend a budget. Concrete forms are frozen dataclasses of hyper-parameters, registered in ``FORMS``.

    A form decides geometry once, in ``plan``; ``empty`` makes the parameterization from it, in another process and
    maybe on another machine.

    Attributes:
        name: registered name.
        version: raised when the same fields give other geometry or other initial values.
        search: field -> what the command ``tune`` may try for it, also a field of the outer loop or the student.
        init: what the stored numbers start from: ``noise`` (unit-norm Gaussian, as PoDD and RaT-BPTT), ``normal`` (standard
            deviation 1 in every pixel, as DC), or the name of a selection of real images; ``real`` is the selection
            ``random``.
        feature_seeds: how many feature networks a selection that looks at features has; distillation seed s takes the
            network s modulo this number, so that a deterministic coreset has a spread.

    Example:
        >>> from dataclasses import dataclass
        >>> from bench import BudgetRequest, Form, FormPlan, PlanContext, Refusal, Spec
        >>> from bench.decoders.images import Images
        >>> @dataclass(frozen=True, kw_only=True)
        ... class OneEach(Form):
        ...     name = "one_each"
        ...     def plan(self, context):
        ...         fits = context.budget.images >= context.spec.classes
        ...         return FormPlan(self, context.spec.classes) if fits else Refusal("one image of every class does not fit")
        ...     def empty(self, spec, plan):
        ...         return Images(spec, plan.images)
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> plan = OneEach().plan(PlanContext(spec, BudgetRequest.parse("1.5").resolve(2, 8, 8)))
        >>> plan.images, OneEach().empty(spec, plan).pixels
        (2, 128)
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    search: ClassVar[Mapping[str, Search | None]] = {}

    init: Annotated[str, named_in("selection", SELECTIONS, (NOISE, NORMAL, "real"))] = NOISE
    feature_seeds: Annotated[int, Field(ge=1, le=1000)] = 1

    @abstractmethod
    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Turn the budget into geometry, or refuse with a sentence.

        Label numbers beyond ``context.budget.free_labels`` cost pixels: take what
        ``context.budget.pixels_beside_labels(label_numbers, channels)`` leaves.
        """

    @abstractmethod
    def empty(self, spec: Spec, plan: FormPlan) -> Parameterization:
        """Make the parameterization of a plan, all its numbers zero."""

    def slots(self, stored: Parameterization, plan: FormPlan) -> Tensor:
        """Return the class of every real image that the form starts from: (n,) int64."""
        del plan
        return stored.slots()

    def size(self, spec: Spec, plan: FormPlan) -> tuple[int, int]:
        """Return the (height, width) at which noise is drawn; smaller images draw it at their own size."""
        del plan
        return spec.height, spec.width

    def fill(self, stored: Parameterization, images: Tensor, labels: Tensor) -> None:
        """Write initial (n, c, h, w) images with their (n,) classes into the stored numbers."""
        stored.write(images, labels)

    def look(self, stored: Parameterization, task: Task, space: Space | None) -> None:
        """Set in the empty parameterization what is chosen by looking at all training images; by default there is nothing.

        Args:
            stored: what ``empty`` made.
            task: gives the training images.
            space: pixel space of the stored images, or ``None`` for plain pixels.
        """
        del stored, task, space

    def selection(self) -> Select | None:
        """Return the function that selects real images, or ``None`` for noise."""
        return None if self.init in (NOISE, NORMAL) else SELECTIONS["random" if self.init == "real" else self.init]

    def unkeyed(self) -> frozenset[str]:
        """Return the fields that are left out of a cell's key.

        They hold what the form did before it had them, or planning uses them up and sets them back to their defaults, as
        what came of them is in the geometry.
        """
        return frozenset()

    def selection_needs(self, seed: int) -> tuple[Need, ...]:
        """Return the prerequisites of the selection; whoever uses the form announces them, and those of ``label``."""
        select = self.selection()
        return (features_need(feature_seed(seed, self.feature_seeds)),) if select is not None and uses_features(select) else ()

    @property
    def taught(self) -> bool:
        """Whether a teacher is asked for labels: ``label``, or an objective that teaches (``Objective.teaches``)."""
        return False

    def teacher_needs(self, seed: int) -> tuple[Need, ...]:
        """Return the prerequisites of ``label``."""
        del seed
        return ()

    def label(self, stored: Parameterization, task: Task, plan: FormPlan, space: Space | None) -> None:
        """Write a teacher's labels into what ``build`` returned, where the form asks for one; see there for the arguments."""
        return

    def build(self, task: Task, plan: FormPlan, space: Space | None) -> Parameterization:
        """Make the parameterization and write its initial values.

        Args:
            task: gives training images and random streams.
            plan: what ``plan`` decided.
            space: pixel space of the stored images; ``None`` keeps real images as plain pixels.
        """
        stored = self.empty(task.spec, plan)
        self.look(stored, task, space)
        labels = self.slots(stored, plan)
        if (select := self.selection()) is None:
            shape = (len(labels), task.spec.channels, *self.size(task.spec, plan))
            images = torch.randn(shape, generator=task.generator("initial noise"))
            if self.init == NOISE:  # a random direction for each image, all of the same length
                images = images / images.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        else:
            features = None
            if uses_features(select):
                need = features_need(feature_seed(task.seed, self.feature_seeds))
                features = read_features(task.find(need))
            chosen = checked(select(features, task.train.labels, labels, task.generator("selection")), task.train.labels, labels)
            images = task.train.unit_images(chosen)
            if space is not None:
                images = space.transform(images)
        with torch.no_grad():
            self.fill(stored, images, labels)
        return stored
