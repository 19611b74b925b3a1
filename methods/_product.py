"""A method as a product: form x objective x outer loop x student. How the parts meet; nothing here for plugin authors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

from bench import (
    FORMS,
    OBJECTIVES,
    DistilledSet,
    Form,
    FormPlan,
    Method,
    Need,
    Objective,
    Parameterization,
    PlanContext,
    Refusal,
    Resolution,
    Run,
    Spec,
    Student,
    Task,
)
from bench.errors import did_you_mean
from bench.fields import Hyperparameter, hyperparameters
from bench.nn.spaces import SPACES, needs_of_space
from bench.registry import claim_fields
from bench.search import Search
from bench.selection import is_deterministic

from . import _outer_loop
from ._outer_loop import Outer, OuterLoop

#: The objective of a product that optimises nothing: its initial values are the set.
NONE = "none"

claim_fields("outer loop", Outer)
claim_fields("student", Student)


@dataclass(frozen=True)
class Product(Method):
    """A form of storage, and what moves its numbers.

    A named product says which parts it has by default (``own_forms``, ``own_objective``) and where their defaults differ
    (``own_defaults``). Any part can be exchanged: ``podd[objective=mtt]``, ``rat_bptt[form=poster]``. Fields stay flat;
    legal are those of the chosen parts.

    Attributes:
        form: how the budget is spent.
        objective: what gives the stored numbers a gradient, or ``None``.
        outer: how they follow it.
        student: network, space, augmentation and training.
    """

    own_forms: ClassVar[tuple[str, ...]]
    own_objective: ClassVar[str] = NONE
    own_defaults: ClassVar[Mapping[str, Any]] = {}
    aliases: ClassVar[Mapping[str, str]] = {"images": "form"}
    axes: ClassVar[tuple[str, ...]] = ("form", "objective")

    form: Form
    objective: Objective | None
    outer: Outer
    student: Student

    @classmethod
    def candidates(cls, given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Return the forms to try in turn: the one that was asked for, or the product's own."""
        forms = cls.own_forms if given.get("form", "auto") == "auto" else (given["form"],)
        return [{"form": form, "objective": given.get("objective", cls.own_objective)} for form in forms]

    @classmethod
    def legal(cls, given: Mapping[str, Any]) -> dict[str, Hyperparameter]:
        """Return the fields of the chosen parts; those of all own forms where none is chosen."""
        found = {
            "form": Hyperparameter(str, "auto", f"method '{cls.name}'"),
            "objective": Hyperparameter(str, cls.own_objective, f"method '{cls.name}'"),
        }
        objective = given.get("objective", cls.own_objective)
        # A dict as an ordered set: where own forms disagree on a default, the last one counts.
        for form in {choice["form"]: None for choice in cls.candidates(given)}:
            found |= hyperparameters(FORMS[form], f"form '{form}'")
        if objective != NONE:
            found |= hyperparameters(OBJECTIVES[objective], f"objective '{objective}'")
            found |= hyperparameters(Outer, "outer loop")
        return found | hyperparameters(Student, "student")

    @classmethod
    def search_space(cls, given: Mapping[str, Any]) -> Mapping[str, Search]:
        """Return what the parts and the product say may be tried; where two name a field, the more particular one counts."""
        legal, objective = cls.legal(given), given.get("objective", cls.own_objective)
        own = {choice["form"]: FORMS[choice["form"]].search for choice in cls.candidates(given)}
        # What holds for all forms that may come of it: which one does is only known once the budget is.
        shared = {name: search for form in own.values() for name, search in form.items() if all(name in other for other in own.values())}
        moved = {} if objective == NONE else {**Outer.search, **shared, **OBJECTIVES[objective].search}
        found = {**Student.search, **shared, **moved, **cls.search}
        return {name: search for name, search in found.items() if search is not None and name in legal and name not in given}

    @classmethod
    def belongs_to(cls, field: str) -> str:
        """Name the first part that has such a field."""
        kinds: list[tuple[str, Any]] = [("form", FORMS), ("objective", OBJECTIVES)]
        for kind, registry in kinds:
            for name in registry:
                if field in hyperparameters(registry[name], name):
                    return f"{kind} '{name}'"
        return "the outer loop" if field in hyperparameters(Outer, "") else ""

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Make the product of checked fields, laid over the defaults of its parts."""
        form, name = FORMS[values["form"]], values.get("objective", cls.own_objective)
        objective: type[Objective] | None = None if name == NONE else OBJECTIVES[name]
        # Later ones win: an objective's defaults, then the product's, then what was asked for.
        if objective:
            _check_defaults(objective)
        given = {
            **(objective.outer_defaults if objective else {}),
            **(objective.student_defaults if objective else {}),
            **(_taken(form, objective.form_defaults) if objective else {}),
            **cls.own_defaults,
            **values,
        }
        return cls(
            form=form(**_of(form, given)),
            objective=objective(**_of(objective, given)) if objective else None,
            outer=Outer(**_of(Outer, given)),
            student=Student(**_of(Student, given)),
        )

    def values(self) -> dict[str, Any]:
        """Return the fields of all parts, and the parts' names."""
        flat = {"form": self.form.name, **asdict(self.form), "objective": self.objective.name if self.objective else NONE}
        if self.objective:
            # An ``Objective`` is abstract, and only its subclasses are dataclasses.
            flat |= {**asdict(self.objective), **asdict(self.outer)}  # type: ignore[call-overload]
        return flat | asdict(self.student)

    def identity(self) -> dict[str, Any]:
        """Return the versions of the parts: products that are made of the same ones are one cell, whatever their names."""
        parts: dict[str, Any] = {"form": [self.form.name, self.form.version]}
        if self.student.space in SPACES:  # one that is fitted on the spot is no prerequisite, whose key has its version
            parts["space"] = SPACES[self.student.space].version
        if (select := self.form.selection()) is not None:
            parts["selection"] = getattr(select, "version", 1)
        if self.objective:
            parts |= {"objective": [self.objective.name, self.objective.version], "outer loop": _outer_loop.VERSION}
        return {"product": parts}

    def parts(self) -> dict[str, str]:
        """Return the names of form, objective and selection."""
        named = {"form": self.form.name, "objective": self.objective.name if self.objective else NONE}
        return named if self.form.selection() is None else {**named, "selection": self.form.init}

    def unkeyed_fields(self) -> frozenset[str]:
        """Return those of the parts."""
        return self.form.unkeyed() | self.student.unkeyed() | (self.objective.unkeyed if self.objective else frozenset())

    def same_for_every_seed(self) -> bool:
        """Tell whether selection and objective promise it, and every seed looks through the same features."""
        fixed = is_deterministic(self.form.selection()) and self.form.feature_seeds == 1
        return self.deterministic or (fixed and (self.objective is None or self.objective.deterministic))

    def code(self) -> tuple[Any, ...]:
        """Return the classes of the chosen parts, and of what joins them."""
        moved = (type(self.objective), OuterLoop) if self.objective else ()
        chosen = (type(self), Product, type(self.form), self.form.selection(), *moved)
        return tuple(part for part in chosen if part is not None)

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        """Settle the student, ask the objective, and let the form turn the budget into geometry.

        Raises:
            BenchError: the images are too small for the student's network.
        """
        spec, student = context.spec, self.student.settle(context.spec)
        student.build(spec)  # which says so where the images are too small for the network
        if sentence := self._problem(spec, student):
            return Refusal(sentence)
        # ``real`` is another name, and equal products are to be one cell.
        form = replace(self.form, init="random") if self.form.init == "real" else self.form
        planned = form.plan(replace(context, optimised=self.objective is not None))
        if isinstance(planned, Refusal):
            return planned
        empty = planned.form.empty(spec, planned)
        if sentence := self._misfit(planned, empty, spec, student):
            return Refusal(sentence)
        settled, images = replace(self, form=planned.form, student=student), planned.images
        needs = (*needs_of_space(student.space, spec), *_needs_of(planned.form, self._teaches, context.seed), *planned.needs)
        steps, flops = 0, None
        if self.objective:
            needs += self.objective.needs(spec, student, context.seed)
            steps, each = self.outer.outer_iterations, self.objective.flops(spec, student, images)
            flops = None if each is None else steps * each
        return Resolution(
            settled,
            plan={"images": images, "geometry": dict(planned.geometry)},
            adapted=planned.adapted,
            external=planned.external,
            notes=(*planned.notes, *_repeated(planned, empty, context.class_counts)),
            outer_steps=steps,
            flops=flops,
            presented_examples=student.presented_examples(images),
            network=student.network,
            needs=needs,
        )

    @property
    def _teaches(self) -> bool:
        """Whether the objective labels images where the form asks for a teacher."""
        return self.form.taught and self.objective is not None and self.objective.teaches

    def _problem(self, spec: Spec, student: Student) -> str | None:
        if self.objective is None:
            return "without an objective noise stays noise; choose init=real" if self.form.selection() is None else None
        return self.objective.refuses(spec, student)

    def _misfit(self, planned: FormPlan, empty: Parameterization, spec: Spec, student: Student) -> str:
        """Return a sentence if the planned form is none for the objective or the student's loss."""
        if self.objective and self.objective.by_class and (missing := _images_of_each(planned, empty, spec.classes).count(0)):
            return (
                f"objective={self.objective.name} compares images class by class, and form={planned.form.name} has none of {missing} of "
                f"{spec.classes} classes at this budget; use form=lowres or a larger budget"
            )
        if empty.label_kind != "centred":
            return ""
        if self.objective and not self.objective.centred_labels:
            return f"objective={self.objective.name} takes no labels below zero, which centred ones are; use labels=learned"
        if student.student_loss == "cross_entropy":
            return "centred labels have no lowest cross-entropy; use student_loss=mse or other labels"
        return ""

    def distill(self, task: Task) -> DistilledSet:
        """Build the form, let the objective move its numbers, and hand over what the outer loop ends with."""
        plan = FormPlan(self.form, int(task.plan["images"]), task.plan["geometry"])
        recipe = self.student.recipe(plan.images)
        if self.objective is None:
            # Real images stay plain pixels, which a student sees through the space, as it sees all real images.
            stored = self.form.build(task, plan, None)
            self.form.label(stored, task, plan, None)
            return DistilledSet(task.spec, stored, recipe, space=self.student.space, coordinates="rgb", network=self.student.network)
        space = task.space(self.student.space)
        stored = self.form.build(task, plan, space)
        if not self._teaches:
            self.form.label(stored, task, plan, space)
        stored = stored.to(task.device)
        run = self.objective.begin(task, self.student, task.steps(self.outer.outer_iterations))
        if self._teaches:
            stored.write_labels(run.labels(stored))

        def made() -> DistilledSet:
            shown = self._labelled(stored, run)
            return DistilledSet(task.spec, shown, run.recipe(recipe), space=self.student.space, network=self.student.network)

        OuterLoop(self.outer, task, stored, run).finish(made)
        return made()

    def _labelled(self, stored: Parameterization, run: Run) -> Parameterization:
        """Return the numbers under the labels that a set of them has, in a copy: those that the outer loop goes on with stay."""
        if not self._teaches:
            return stored
        shown = deepcopy(stored)
        shown.write_labels(run.labels(shown))
        return shown


def _needs_of(form: Form, objective_teaches: bool, seed: int) -> tuple[Need, ...]:
    """Return what a form opens: the prerequisites of its selection, and its teacher, who may be among them."""
    needs = form.selection_needs(seed)
    return (*needs, *(need for need in (() if objective_teaches else form.teacher_needs(seed)) if need not in needs))


def _images_of_each(planned: FormPlan, empty: Parameterization, classes: int) -> list[int]:
    """Return how many images of every class a form starts with."""
    return planned.form.slots(empty, planned).bincount(minlength=classes).tolist()  # type: ignore[no-any-return]


def _repeated(planned: FormPlan, empty: Parameterization, class_counts: Sequence[int]) -> tuple[str, ...]:
    """Return a note where a form starts from more real images of a class than there are, so that some are taken again.

    They are charged like any others.
    """
    if planned.form.selection() is None or not class_counts:
        return ()
    wanted = _images_of_each(planned, empty, len(class_counts))
    short = [label for label, have in enumerate(class_counts) if wanted[label] > have]
    if not short:
        return ()
    worst = min(short, key=lambda label: class_counts[label])
    counts = f"class {worst} has {class_counts[worst]} training images where {wanted[worst]} are kept"
    others = f" (and so for {len(short) - 1} more)" if len(short) > 1 else ""
    return (f"{counts}{others}, so images are repeated and charged again",)


def _check_defaults(objective: type[Objective]) -> None:
    """Refuse defaults that no field would take.

    Raises:
        ValueError: one is misspelt.
    """
    for name, part in (("outer_defaults", Outer), ("student_defaults", Student)):
        known = [item.name for item in fields(part)]
        for key in getattr(objective, name):
            if key not in known:
                raise ValueError(f"objective '{objective.name}' has the unknown field '{key}' in its {name}{did_you_mean(key, known)}")


def _taken(form: type[Form], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults that a form takes: forms differ in their fields, and in the kinds of labels that they store."""
    declared, found = hyperparameters(form, f"form '{form.name}'"), {}
    for name in declared.keys() & defaults.keys():
        with suppress(ValueError):
            found[name] = declared[name].fitting(defaults[name])
    return found


def _of(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are fields of ``kind``."""
    return {item.name: values[item.name] for item in fields(kind) if item.name in values}
