"""What a contestant is and what it may look at."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from .budget import Budget
from .data import Spec, Split
from .distilled import DistilledSet
from .seeding import stream
from .space import Space


@dataclass(frozen=True)
class Resolution:
    """A method whose choices are all made for one data set and one budget.

    Attributes:
        method: the same method with every ``auto`` replaced by what it stands for; its fields enter the cell's key.
        adapted: how a whole-image method copes below one image per class (``lowres``, ``subset``, ...), or empty.
        external: what it uses from outside the training data (``CLIP text embeddings``), or empty.
        notes: sentences for the record, e.g. which fallback was taken and why.
    """

    method: Method
    adapted: str = ""
    external: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanContext:
    """What ``Method.resolve`` may look at while the sweep is planned.

    Attributes:
        spec: the data set.
        budget: the pixels granted.
        train: opens the training split (only when called).
        data_hash: identifies the training data, for caches.
        cache: a folder for small results that are worth keeping between plans.
    """

    spec: Spec
    budget: Budget
    train: Callable[[], Split]
    data_hash: str
    cache: Path


class Method(ABC):
    """A way to turn a ``Task`` into a ``DistilledSet``. Concrete methods are frozen dataclasses of hyper-parameters.

    Attributes:
        name: registered name.
        version: raised by its author when results change; it is part of the cell's key.
        reference: the paper, e.g. ``"Shul et al. 2024, arXiv 2403.12040"``, or ``"none"``.
        reference_forms: settings of this method that every sweep runs as yardsticks, unless ``--no-reference``; each
            maps fields to values, e.g. ``{"images": "lowres"}``.
        unkeyed: fields that choose how a result is computed and not which one, such as a back end. They are recorded,
            and left out of the cell's key and with it of its random streams.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    reference: ClassVar[str]
    reference_forms: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    unkeyed: ClassVar[frozenset[str]] = frozenset()

    def refuses(self, spec: Spec, budget: Budget) -> str | None:
        """Return a sentence why this data set or budget cannot be done, or ``None`` (the default) if it can."""
        del spec, budget
        return None

    def resolve(self, context: PlanContext) -> Resolution:
        """Replace choices that depend on data set, budget or machine by concrete ones; the default has none."""
        del context
        return Resolution(self)

    def outer_steps(self) -> int:
        """Return how many outer steps the full recipe takes; 0 for methods without (selection, closed form)."""
        return 0

    def estimate_flops(self, spec: Spec, budget: Budget) -> float | None:
        """Return about how many floating-point operations the full recipe takes, or ``None`` if that is not known.

        It is asked after ``resolve``, for the time estimate of a plan that no earlier record can give.
        """
        del spec, budget
        return None

    def presented_examples(self, spec: Spec, budget: Budget) -> int | None:
        """Return how many images the set's own recipe shows one student, or ``None`` if that is not known beforehand.

        Like ``estimate_flops`` it is asked after ``resolve`` and only for the time estimate of a plan.
        """
        del spec, budget
        return None

    @abstractmethod
    def distill(self, task: Task) -> DistilledSet:
        """Make the set. Randomness comes from ``task.generator`` alone."""


def _ignore(*_: object, **__: object) -> None:
    return None


@dataclass(frozen=True)
class Task:
    """Everything a method may look at. Neither validation nor test images are among it.

    Attributes:
        spec: names and shapes of the data set.
        train: the training split.
        budget: pixels granted.
        seed: distillation seed.
        key: distil key of the cell; all random streams are derived from it.
        device: where to compute.
        effort: fraction of the recipe's outer steps to take.
        open_space: fits a pixel space on ``train`` (or takes it from the cache); call it as ``task.space(name)``.
        on_report: called with ``(step, total, scalars)``.
        on_note: called with facts about how the set is computed.
        on_checkpoint: keeps a dictionary of tensors from which ``distill`` can go on.
        resume_from: the last checkpoint of an interrupted run of this very cell, or ``None``.
        score: trains students on a set in another process and returns their mean validation accuracy.
    """

    spec: Spec
    train: Split
    budget: Budget
    seed: int
    key: str
    open_space: Callable[[str], Space]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    effort: float = 1.0
    on_report: Callable[[int, int, Mapping[str, float]], None] = _ignore
    on_note: Callable[[Mapping[str, str | float]], None] = _ignore
    on_checkpoint: Callable[[Mapping[str, Tensor]], None] = _ignore
    resume_from: Mapping[str, Tensor] | None = None
    score: Callable[[DistilledSet], float] | None = None

    def generator(self, *names: str | int) -> torch.Generator:
        """Return the generator of one random stream of this cell; equal names give equal streams."""
        return stream("distil", self.key, *names)

    def steps(self, recipe_steps: int) -> int:
        """Scale a number of outer steps by the effort: rounded up, at least 1."""
        return max(1, math.ceil(recipe_steps * self.effort - 1e-9))

    def space(self, name: str) -> Space:
        """Return the pixel space called ``name``, fitted on the training split."""
        return self.open_space(name)

    def report(self, step: int, total: int, **scalars: float) -> None:
        """Tell the progress bar and the log how far the distillation is."""
        self.on_report(step, total, scalars)

    def note(self, **facts: str | float) -> None:
        """Put facts about how the set is computed into the record (not into the set), e.g. ``engine`` or ``precision``."""
        self.on_note(facts)

    def checkpoint(self, state: Mapping[str, Tensor]) -> None:
        """Offer a state to resume from; the suite decides how often one is really written."""
        self.on_checkpoint(state)

    def validate(self, distilled: DistilledSet) -> float:
        """Return the mean validation accuracy of students trained on ``distilled``; every call is counted.

        Raises:
            RuntimeError: this task has no validation split (split ``paper``).
        """
        if self.score is None:
            raise RuntimeError("this task has no validation split; use split dev to tune")
        return self.score(distilled)


def fields_of(method: Method) -> dict[str, Any]:
    """Return the hyper-parameters of a method as a plain dictionary."""
    return asdict(method)  # type: ignore[call-overload, no-any-return]
