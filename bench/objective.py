"""An objective: what is optimised, and the gradient it gives the stored numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from .data import Spec
from .method import Task
from .parameterization import Parameterization
from .prerequisite import Need
from .search import Search
from .train_recipe import TrainRecipe

if TYPE_CHECKING:
    from .nn.student import Student


@dataclass(frozen=True)
class OuterGradient:
    """One outer step's loss and what it says about the stored tensors.

    Attributes:
        loss: for the progress display.
        gradients: name of a trained tensor, of the stored ones or of the run's own -> gradient of its shape; a tensor that is not
            named stays as it is.
        diverged: whether the step says nothing because a student diverged. The outer loop then goes back to where the last step
            began that did not. ``None`` where the objective cannot tell.

    Example:
        >>> from bench import OuterGradient, Spec
        >>> from bench.decoders.images import Images
        >>> stored = Images(Spec("toy", 2, (1, 8, 8), ("one", "other")), count=2)
        >>> found = OuterGradient.of((stored.decode().images - 1).square().mean(), stored)
        >>> found.loss, tuple(found.gradients["images"].shape)
        (1.0, (2, 1, 8, 8))
    """

    loss: float
    gradients: Mapping[str, Tensor]
    diverged: bool | None = None

    @classmethod
    def of(cls, loss: Tensor, stored: Parameterization) -> OuterGradient:
        """Differentiate a scalar ``loss`` with respect to all trained tensors of ``stored``."""
        trained = stored.trained()
        # Objectives that ignore labels give these no gradient, and they stay as they are.
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        return cls(float(loss.detach()), {name: g for name, g in zip(trained, found, strict=True) if g is not None})


class Streams(Mapping[str, torch.Generator]):
    """The named random streams of a run, drawn on step after step and kept in checkpoints.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from bench import Streams
        >>> task = SimpleNamespace(generator=lambda name: torch.Generator().manual_seed(len(name)))  # a Task in a run
        >>> streams = Streams(task, "network", "real")
        >>> kept = streams.state()
        >>> first = torch.rand(3, generator=streams["real"])
        >>> streams.load(kept)
        >>> torch.equal(torch.rand(3, generator=streams["real"]), first)
        True
    """

    def __init__(self, task: Task | None, *names: str) -> None:
        """Start every stream where the key of the cell says; without names there is nothing to start."""
        self._generators = {name: task.generator(name) for name in names} if task else {}

    def __getitem__(self, name: str) -> torch.Generator:
        """Return the generator of one stream."""
        return self._generators[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._generators)

    def __len__(self) -> int:
        """Return how many streams there are."""
        return len(self._generators)

    def state(self) -> dict[str, Tensor]:
        """Return where every stream is."""
        return {f"stream.{name}": generator.get_state() for name, generator in self._generators.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state`` says."""
        for name, generator in self._generators.items():
            generator.set_state(state[f"stream.{name}"].cpu())


class Run(ABC):
    """An objective at work on one cell. The outer loop owns optimizer, clipping, averaging, checkpoints and reports.

    Attributes:
        streams: random streams that go on from step to step; the suite keeps and restores them.

    Example:
        >>> from bench import OuterGradient, Run, Spec
        >>> from bench.decoders.images import Images
        >>> class TowardsGrey(Run):
        ...     def gradient(self, stored, progress):
        ...         return OuterGradient.of((stored.decode().images - 0.5).square().mean(), stored)
        >>> stored = Images(Spec("toy", 2, (1, 8, 8), ("one", "other")), count=2)
        >>> TowardsGrey().gradient(stored, progress=0.0).loss
        0.25
    """

    streams: Streams = Streams(None)

    @abstractmethod
    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        """Return the gradient of one outer step.

        Args:
            stored: gives batches by ``decode``; its tensors are not changed here.
            progress: how far the run is, from 0 at the first step to 1 at the last.
        """

    def trained(self) -> Mapping[str, tuple[Tensor, float]]:
        """Return the objective's own numbers that the outer loop moves along their gradients, such as a learned rate.

        Returns:
            Name, which no stored tensor has -> the tensor and its learning rate in the outer loop, which also keeps it in checkpoints.
        """
        return {}

    def project(self) -> None:
        """Bring these numbers back to legal values after a step."""
        return

    def labels(self, stored: Parameterization) -> Tensor:
        """Return a (n, classes) row of probabilities for every decoded image, of an objective that ``teaches``.

        They are asked for at the start, which are those that it trains with, and for every set that is handed over or offered.
        """
        raise NotImplementedError(f"{type(self).__name__} labels nothing, though its objective says that it teaches")

    def recipe(self, recipe: TrainRecipe) -> TrainRecipe:
        """Return how students are trained on the finished set, given the student's own recipe; what was learned goes in here."""
        return recipe

    def state(self) -> Mapping[str, Tensor]:
        """Return what beside the streams and ``trained`` decides how the run goes on, as tensors: pools of networks, ..."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> bool:
        """Take a state back; ``False`` refuses it, and the cell starts over."""
        del state
        return True

    def facts(self) -> Mapping[str, str | float]:
        """Return how it is computed, for the record: ``engine``, ``precision``, ..."""
        return {}


class Objective(ABC):
    """What is optimised. Concrete objectives are frozen dataclasses of hyper-parameters, registered in ``OBJECTIVES``.

    Attributes:
        name: registered name.
        version: raised when the same fields give other gradients.
        reference: the paper.
        deterministic: whether its gradients draw no random number; see ``Method.deterministic``.
        teaches: whether its runs label images (``Run.labels``) where a form asks for a teacher's labels; else the form's own teacher
            does.
        by_class: whether it compares real and distilled images class by class, so that a form has to start with an image of
            every class.
        centred_labels: whether it takes labels that sum to zero, which are no shares of classes.
        outer_defaults: defaults of the outer loop's fields (rates, schedule, clipping, steps) under this objective.
        student_defaults: the same for the student's fields.
        form_defaults: the same for the form's fields, such as ``labels``; a form leaves out what it does not take.
        unkeyed: fields that choose how the gradient is computed and not which one.
        search: field -> what the command ``tune`` may try for it, also a field of the outer loop or the student.

    Example:
        >>> from dataclasses import dataclass
        >>> from bench import Objective, OuterGradient, Run
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Grey(Objective):
        ...     name, reference, outer_defaults = "grey", "none (an example)", {"outer_lr": 0.1}
        ...     level: float = 0.5
        ...     def begin(self, task, student, steps):
        ...         return GreyRun(self.level)
        >>> class GreyRun(Run):
        ...     def __init__(self, level):
        ...         self.level = level
        ...     def gradient(self, stored, progress):
        ...         return OuterGradient.of((stored.decode().images - self.level).square().mean(), stored)
        >>> Grey(level=0.2).begin(task=None, student=None, steps=100).level
        0.2
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    reference: ClassVar[str]
    deterministic: ClassVar[bool] = False
    teaches: ClassVar[bool] = False
    by_class: ClassVar[bool] = False
    centred_labels: ClassVar[bool] = False
    outer_defaults: ClassVar[Mapping[str, Any]] = {}
    student_defaults: ClassVar[Mapping[str, Any]] = {}
    form_defaults: ClassVar[Mapping[str, Any]] = {}
    unkeyed: ClassVar[frozenset[str]] = frozenset()
    search: ClassVar[Mapping[str, Search | None]] = {}

    @abstractmethod
    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Put everything in place for ``steps`` outer steps; ``student`` has no ``auto`` left."""

    def refuses(self, spec: Spec, student: Student) -> str | None:
        """Return a sentence why these hyper-parameters or this data set cannot be done, or ``None``."""
        del spec, student
        return None

    def needs(self, spec: Spec, student: Student, seed: int) -> tuple[Need, ...]:
        """Return the prerequisites that ``begin`` will open."""
        del spec, student, seed
        return ()

    def flops(self, spec: Spec, student: Student, images: int) -> float | None:
        """Return about how many operations one outer step on ``images`` decoded images takes, or ``None``."""
        del spec, student, images
        return None
