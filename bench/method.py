"""What a contestant is and what it may look at."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from .budget import Budget
from .data import Spec, Split
from .distilled import DistilledSet
from .fields import Hyperparameter, hyperparameters
from .prerequisite import Need, unannounced
from .search import Search
from .seeding import stream
from .space import Space


@dataclass(frozen=True)
class Refusal:
    """Why a method cannot do a data set or a budget, in one sentence that the tables show.

    Example:
        >>> from bench import Refusal
        >>> Refusal("it keeps one full image of every class").reason
        'it keeps one full image of every class'
    """

    reason: str


@dataclass(frozen=True)
class Resolution:
    """A method whose choices are all made for one data set, budget and seed.

    Attributes:
        method: the same method with every ``auto`` replaced by what it stands for; its fields enter the cell's key.
        plan: plain JSON that was decided on the way (geometry, ...); it comes back as ``task.plan``, so that nothing is
            decided twice.
        adapted: how a whole-image method copes below one image per class (``lowres``, ``subset``, ...), or empty.
        external: what it uses from outside the training data (``CLIP text embeddings``), or empty.
        notes: sentences for the record, e.g. which fallback was taken and why.
        outer_steps: outer steps of the full recipe; 0 for methods without (selection, closed form).
        flops: about how many floating-point operations the full recipe takes, or ``None`` if that is not known.
        presented_examples: how many images the set's own recipe shows one student, or ``None``.
        network: the student network the set is made for; empty is the data set's default.
        needs: prerequisites that ``distill`` will ask for; they are built before.
        origin: where a set comes from that was made elsewhere, or empty; whoever made it may have seen val images, so it is
            ranked in split ``paper`` only.

    Example:
        >>> from dataclasses import dataclass, replace
        >>> from bench import BudgetRequest, Method, PlanContext, Resolution, Spec
        >>> @dataclass(frozen=True)
        ... class Blank(Method):
        ...     name = "blank"
        ...     images: int | None = None
        ...     def distill(self, task): ...  # left out here
        ...     def plan(self, context):
        ...         return Resolution(replace(self, images=context.budget.images))
        >>> context = PlanContext(Spec("toy", 2, (1, 8, 8), ("one", "other")), BudgetRequest.parse("3").resolve(2, 8, 8))
        >>> Blank().plan(context).method.values()
        {'images': 6}
    """

    method: Method
    plan: Mapping[str, Any] = field(default_factory=dict)
    adapted: str = ""
    external: str = ""
    notes: tuple[str, ...] = ()
    outer_steps: int = 0
    flops: float | None = None
    presented_examples: int | None = None
    network: str = ""
    needs: tuple[Need, ...] = ()
    origin: str = ""


def _nothing_there(need: Need) -> Path:
    raise unannounced(need)


@dataclass(frozen=True)
class PlanContext:
    """What ``Method.plan`` may look at.

    Attributes:
        spec: the data set.
        budget: the pixels granted.
        seed: distillation seed.
        find: returns the folder of a prerequisite, which is built first where it is not there.
        optimised: whether an objective will move the numbers; told to forms.
        class_counts: number of training images of every class, or empty where it is not known.
        download: whether something from outside, such as pretrained weights, may be fetched.

    Example:
        >>> from bench import BudgetRequest, PlanContext, Spec
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> context = PlanContext(spec, BudgetRequest.parse("0.5").resolve(spec.classes, spec.height, spec.width))
        >>> context.budget.pixels, context.budget.images_per_class
        (64, 0)
    """

    spec: Spec
    budget: Budget
    seed: int = 0
    find: Callable[[Need], Path] = _nothing_there
    optimised: bool = False
    class_counts: tuple[int, ...] = ()
    download: bool = False


class Method(ABC):
    """A way to turn a ``Task`` into a ``DistilledSet``. Concrete methods are frozen dataclasses of hyper-parameters.

    Attributes:
        name: registered name.
        version: raised by its author when results change; it is part of the cell's key.
        reference: the paper, e.g. ``"Shul et al. 2024, arXiv 2403.12040"``, or ``"none"``.
        deterministic: whether every seed gives the same images. It is a promise that the contract checks; without it, another
            seed must give other images. A product that only selects real images keeps what its selection promises.
        reference_forms: settings of this method that every sweep runs as yardsticks, unless ``--no-reference``; each
            maps fields to values, e.g. ``{"form": "lowres"}``.
        unkeyed: fields that choose how a result is computed and not which one, such as a back end. They are recorded,
            and left out of the cell's key and with it of its random streams.
        aliases: other names of fields, e.g. ``{"images": "form"}``.
        axes: fields that choose parts (``form``, ``objective``); recipe rules may match on them.
        search: field -> what the command ``tune`` may try for it; for a product, on top of what its parts declare, ``None`` for what is
            not to be tried.

    Example:
        >>> from dataclasses import dataclass
        >>> from bench import DistilledSet, Method, Task, TrainRecipe
        >>> from bench.decoders.images import Images
        >>> @dataclass(frozen=True)
        ... class Grey(Method):
        ...     name, reference = "grey", "none (an example)"
        ...     student_steps: int = 10
        ...
        ...     def distill(self, task: Task) -> DistilledSet:
        ...         return DistilledSet(task.spec, Images(task.spec, task.spec.classes), TrainRecipe(steps=self.student_steps))
        >>> Grey(student_steps=5).values(), Grey().identity()
        ({'student_steps': 5}, {'method': 'grey', 'version': 1})
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    reference: ClassVar[str]
    deterministic: ClassVar[bool] = False
    reference_forms: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    unkeyed: ClassVar[frozenset[str]] = frozenset()
    aliases: ClassVar[Mapping[str, str]] = {}
    axes: ClassVar[tuple[str, ...]] = ()
    search: ClassVar[Mapping[str, Search | None]] = {}

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        """Replace choices that depend on data set, budget or machine by concrete ones, or refuse with a sentence."""
        del context
        return Resolution(self)

    @abstractmethod
    def distill(self, task: Task) -> DistilledSet:
        """Make the set. Randomness comes from ``task.generator`` alone."""

    # How the suite takes a method apart and puts it together. A plain dataclass needs none of this changed.

    @classmethod
    def candidates(cls, given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Return settings of its parts that are tried in turn until one is not refused; ``given`` are explicit fields."""
        del given
        return [{}]

    @classmethod
    def legal(cls, given: Mapping[str, Any]) -> dict[str, Hyperparameter]:
        """Return the fields that may be set together with ``given``, which may choose parts."""
        del given
        return hyperparameters(cls, f"method '{cls.name}'")

    @classmethod
    def search_space(cls, given: Mapping[str, Any]) -> Mapping[str, Search]:
        """Return what may be tried for which field; ``given`` are explicit fields, which are not searched."""
        return {name: search for name, search in cls.search.items() if search is not None and name not in given}

    @classmethod
    def belongs_to(cls, field: str) -> str:
        """Return where else a field that is not legal here is one, e.g. ``form 'tiles'``, or an empty string."""
        del field
        return ""

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Method:
        """Make a method from checked fields."""
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """Return all hyper-parameters as a flat dictionary."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def identity(self) -> dict[str, Any]:
        """Return what beside the fields names the method in a cell's key, as plain JSON."""
        return {"method": self.name, "version": self.version}

    def parts(self) -> dict[str, str]:
        """Return kind of part -> registered name; empty for a method that is not made of parts."""
        return {}

    def unkeyed_fields(self) -> frozenset[str]:
        """Return the fields that choose how a result is computed and not which one."""
        return self.unkeyed

    def same_for_every_seed(self) -> bool:
        """Tell whether this method with these fields promises the same images for every seed."""
        return self.deterministic

    def code(self) -> tuple[Any, ...]:
        """Return the classes and functions whose program text decides the result, for the code hash."""
        return (type(self),)


def scaled_steps(outer_steps: int, effort: float) -> int:
    """Return the outer steps at an effort: rounded up, at least 1; a method without any has none at every effort."""
    return max(1, math.ceil(outer_steps * effort - 1e-9)) if outer_steps else 0


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
        plan: what ``Method.plan`` decided (``Resolution.plan``).
        device: where to compute.
        effort: fraction of the recipe's outer steps to take.
        open_space: fits a pixel space on ``train`` (or opens a fitted one); call it as ``task.space(name)``.
        find: opens a prerequisite that the plan announced; call it as ``task.prerequisite(name, ...)``.
        on_report: called with ``(step, total, scalars)``.
        on_note: called with facts about how the set is computed.
        on_checkpoint: keeps a dictionary of tensors from which ``distill`` can go on.
        on_offer: may look at the set as it is now; called with ``(step, total, make, schedule)``.
        resume_from: the last checkpoint of an interrupted run of this very cell, or ``None``.
        score: trains students on a set in another process and returns their mean validation accuracy.

    Example:
        The suite makes one; for a test of a method, make it by hand.

        >>> import torch
        >>> from bench import BudgetRequest, Spec, Split, Task
        >>> from bench.nn.spaces import fit_space
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> train = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
        >>> budget = BudgetRequest.parse("1").resolve(spec.classes, spec.height, spec.width)
        >>> task = Task(spec, train, budget, seed=0, key="test", open_space=lambda name: fit_space(name, train), effort=0.1)
        >>> task.steps(500), task.space("standard").name
        (50, 'standard')
        >>> torch.equal(torch.rand(3, generator=task.generator("a")), torch.rand(3, generator=task.generator("a")))
        True
    """

    spec: Spec
    train: Split
    budget: Budget
    seed: int
    key: str
    open_space: Callable[[str], Space]
    plan: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    effort: float = 1.0
    find: Callable[[Need], Path] = _nothing_there
    on_report: Callable[[int, int, Mapping[str, float]], None] = _ignore
    on_note: Callable[[Mapping[str, str | float]], None] = _ignore
    on_checkpoint: Callable[[Callable[[], Mapping[str, Tensor]]], None] = _ignore
    on_offer: Callable[[int, int, Callable[[], DistilledSet], str], None] = _ignore
    resume_from: Mapping[str, Tensor] | None = None
    score: Callable[[DistilledSet], float] | None = None

    def generator(self, *names: str | int) -> torch.Generator:
        """Return the generator of one random stream of this cell; equal names give equal streams."""
        return stream("distil", self.key, *names)

    def steps(self, recipe_steps: int) -> int:
        """Scale a number of outer steps by the effort: rounded up, at least 1."""
        return max(1, scaled_steps(recipe_steps, self.effort))

    def space(self, name: str) -> Space:
        """Return the pixel space called ``name``, fitted on the training split."""
        return self.open_space(name)

    def prerequisite(self, name: str, seed: int = 0, **config: Any) -> Path:
        """Return the read-only folder of a prerequisite that the plan announced in ``Resolution.needs``.

        Raises:
            LookupError: it was not announced.
        """
        return self.find(Need(name, config, seed))

    def report(self, step: int, total: int, **scalars: float) -> None:
        """Tell the progress bar and the log how far the distillation is."""
        self.on_report(step, total, scalars)

    def note(self, **facts: str | float) -> None:
        """Put facts about how the set is computed into the record (not into the set), e.g. ``engine`` or ``precision``."""
        self.on_note(facts)

    def checkpoint(self, state: Callable[[], Mapping[str, Tensor]]) -> None:
        """Offer a state to resume from; ``state`` is called when one is really written, now and then."""
        self.on_checkpoint(state)

    def offer(self, step: int, total: int, make: Callable[[], DistilledSet], schedule: str = "") -> None:
        """Offer the set as it is after a step, for the curve of val accuracy and for the case that the time runs out.

        Nothing comes back, so that no method can choose by it. Products do this by themselves.

        Args:
            step: outer steps taken so far, from 1 on.
            total: outer steps that will be taken.
            make: returns what ``distill`` would hand over now; called only if somebody looks at it, and before ``offer`` returns.
            schedule: how the learning rates go over the run, in a word that the legend shows, e.g. ``constant``.

        Raises:
            ValueError: ``step`` is not from 1 to ``total``.
        """
        if not 1 <= step <= total:
            raise ValueError(f"step {step} of {total} was offered; steps are counted from 1 to the total")
        self.on_offer(step, total, make, schedule)

    def validate(self, distilled: DistilledSet) -> float:
        """Return the mean validation accuracy of students trained on ``distilled``; every call is counted.

        Raises:
            RuntimeError: this task has no validation split (split ``paper``).
        """
        if self.score is None:
            raise RuntimeError("this task has no validation split; use split dev to tune")
        return self.score(distilled)
