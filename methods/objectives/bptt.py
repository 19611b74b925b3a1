"""Back-propagation through a random window of a student's training: RaT-BPTT (Feng et al. 2024, arXiv 2311.07025).

One outer step: draw a start N, train a fresh student N steps on the distilled set without a graph, then ``window``
steps with one, and descend the cross-entropy of real images with respect to the distilled set. It sees the set through
``decode`` alone, so images, posters or anything else can be optimised by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

from bench import OBJECTIVES, Batch, Objective, OneOf, OuterGradient, Parameterization, Run, Spec, Streams, Student, Task
from bench.nn.adam import Epsilon
from bench.nn.augment import draw
from bench.nn.networks import flops_per_image, initial_parameters
from bench.nn.precision import Precision, rounding
from bench.nn.real import RealImages
from bench.search import Search

from .._unroll import Engine, EngineName, InnerAdam, InnerSGD, RealBatchLoss, choose_engine, engine_facts
from ._inner_batches import augmented, carried_back, decoded

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Curriculum = Literal["random", "fixed", "forward", "length"]

_TOGETHER = 1 << 20  # numbers of inner images that are decoded and augmented in one call


@OBJECTIVES.register("bptt")
@dataclass(frozen=True, kw_only=True)
class TruncatedBPTT(Objective):
    """Real-batch loss through a window of training; names and defaults are those of PoDD's CIFAR-10 commands.

    The student's optimizer, with its rate, momentum and weight decay, is the one that is unrolled, and ``student_batch`` the
    size of an inner step, so that a judged student is trained exactly as in the loop.

    Attributes:
        window: inner steps that are differentiated.
        totwindow: largest number of inner steps in all.
        minwindow: smallest number of inner steps before the window.
        curriculum: ``random`` (RaT: start uniform in [minwindow, totwindow - window], drawn every outer step),
            ``fixed`` (always totwindow - window), ``forward`` (the start moves evenly from minwindow to the end while
            distilling), ``length`` (start 0, window length uniform in [window, totwindow]).
        epsilon: Adam's convention inside, see ``InnerAdam``; ``sgd`` has none.
        real_batch: real images per outer step.
        networks_per_step: student networks per outer step, each freshly initialised, whose gradients are averaged.
        engine: how the unroll is differentiated; ``auto`` follows the fixed rule of ``choose_engine``. All engines are
            exact, so a result differs by rounding alone.
        precision: how inputs of the unroll's convolutions and matrix products are rounded: ``float32`` (not at all),
            ``tf32`` (a GPU's ten-bit mantissa) or ``bf16``. Students are judged in float32 whatever it is.
    """

    name: ClassVar[str] = "bptt"
    reference: ClassVar[str] = "Feng, Vedantam, Kempe: Embarrassingly Simple Dataset Distillation, ICLR 2024, arXiv 2311.07025"
    outer_defaults: ClassVar[Mapping[str, Any]] = {"outer_iterations": 100_000, "clip": "corrected"}
    unkeyed: ClassVar[frozenset[str]] = frozenset({"engine", "precision"})
    search: ClassVar[Mapping[str, Search | None]] = {"window": OneOf(5, 10, 15), "totwindow": OneOf(15, 30, 45)}

    window: Count = 60
    totwindow: Count = 200
    minwindow: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    curriculum: Curriculum = "random"
    epsilon: Epsilon = "torch"
    real_batch: Count = 5000
    networks_per_step: Annotated[int, Field(ge=1, le=1000)] = 1
    engine: EngineName = "auto"
    precision: Precision = "float32"

    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Put real images and streams in place."""
        return TruncatedBPTTRun(self, task, student, steps)

    def refuses(self, spec: Spec, student: Student) -> str | None:
        """Refuse windows that contradict each other, and a student whose training cannot be unrolled as it is."""
        del spec
        if self.window + self.minwindow > self.totwindow:
            return f"window {self.window} and minwindow {self.minwindow} do not fit into totwindow {self.totwindow}"
        if student.student_schedule != "constant":
            return f"objective=bptt unrolls a constant rate, asked for {student.student_schedule}; leave student_schedule as it is"
        if student.student_optimizer == "adam" and student.student_weight_decay:
            return "objective=bptt unrolls Adam without weight decay; set student_weight_decay=0, or use student_optimizer=sgd"
        return None

    def flops(self, spec: Spec, student: Student, images: int) -> float:
        """Estimate one outer step. A plain inner step costs about 2.9 forward passes, a differentiated one 8.8."""
        forward_pass = flops_per_image(student.build(spec), spec)
        before = (self.totwindow - self.window + self.minwindow) / 2
        inner = student.batch(images) * (2.9 * before + 8.8 * self.window)
        return self.networks_per_step * forward_pass * (inner + 2.9 * self.real_batch)


def inner_optimizer(student: Student, epsilon: Epsilon) -> InnerAdam | InnerSGD:
    """Return the student's optimizer as one whose steps can be differentiated."""
    if student.student_optimizer == "sgd":
        return InnerSGD(student.student_lr, student.student_momentum, student.student_weight_decay)
    return InnerAdam(student.student_lr, epsilon)


class TruncatedBPTTRun(Run):
    """Truncated BPTT at work on one cell."""

    def __init__(self, objective: TruncatedBPTT, task: Task, student: Student, steps: int) -> None:
        """Put real images and streams in place; ``student`` must be settled."""
        self.objective, self.task, self.student, self.steps = objective, task, student, steps
        self.real = RealImages.of(task.spec, task.train, task.space(student.space), task.device)
        self.network = student.build(task.spec)
        self.inner = inner_optimizer(student, objective.epsilon)
        self.engine: Engine | None = None
        names = ("start", "network", "inner batch", "inner augmentation", "real batch", "real augmentation")
        self.streams = Streams(task, *names)

    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        """Train fresh students, differentiate the window, and carry the gradients back into the stored tensors."""
        with rounding(self.objective.precision):
            engine = self._engine(len(stored))
            prefix, window = self.draw_window(progress)
            count, device = self.objective.networks_per_step, self.task.device
            drawn = [initial_parameters(self.network, self.streams["network"], device) for _ in range(count)]
            state = engine.start(drawn, self.inner)
            for batch in self._inner_batches(stored, prefix, attached=False):  # these give the stored numbers no gradient
                state = engine.advance(state, batch, self.inner)
            batches, outer = list(self._inner_batches(stored, window, attached=True)), self._outer_loss()
            found = engine.window_gradient(state, batches, self.inner, outer)
            return OuterGradient(found.loss, carried_back(stored, batches, found.images, found.labels))

    def _engine(self, images: int) -> Engine:
        """Choose the engine at the first step, when the number of images is known."""
        if self.engine is None:
            work = self.objective.flops(self.task.spec, self.student, images) * self.steps
            self.engine = choose_engine(
                self.network,
                self.task.spec.shape,
                self.task.device,
                engine=self.objective.engine,
                precision=self.objective.precision,
                work=work,
            )
        return self.engine

    def draw_window(self, progress: float) -> tuple[int, int]:
        """Return the steps before the window and the window's length for one outer step."""
        objective, latest = self.objective, self.objective.totwindow - self.objective.window
        if objective.curriculum == "random":
            return int(torch.randint(objective.minwindow, latest + 1, (1,), generator=self.streams["start"])), objective.window
        if objective.curriculum == "fixed":
            return latest, objective.window
        if objective.curriculum == "forward":
            return objective.minwindow + round((latest - objective.minwindow) * progress), objective.window
        return 0, int(torch.randint(objective.window, objective.totwindow + 1, (1,), generator=self.streams["start"]))

    def _inner_batches(self, stored: Parameterization, steps: int, attached: bool) -> Iterator[Batch]:
        """Decode and augment inner minibatches, ``attached`` to the stored tensors or not.

        Many steps at once, as one call per operation costs less than one per step: all if attached, else as many as fit
        a few megabytes.
        """
        count = self.student.batch(len(stored))
        most = steps if attached else max(1, _TOGETHER // (count * math.prod(self.task.spec.shape)))
        for start in range(0, steps, max(1, most)):
            with torch.set_grad_enabled(attached):
                images, labels = self._augmented(stored, min(most, steps - start), count)
            yield from map(Batch, images.unbind(), labels.unbind())

    def _augmented(self, stored: Parameterization, steps: int, count: int) -> tuple[Tensor, Tensor]:
        """Return images (steps, count, c, h, w) and labels (steps, count, k) of so many inner steps."""
        index = None
        if count != len(stored):
            # One draw per step and not one for all: the stream must not depend on how many steps are decoded at once.
            drawn = [torch.randperm(len(stored), generator=self.streams["inner batch"])[:count] for _ in range(steps)]
            index = torch.stack(drawn).to(self.task.device)
        images, labels = decoded(stored, index, steps)
        return augmented(images, self.student.augmentation, self.streams["inner augmentation"]), labels

    def _outer_loss(self) -> RealBatchLoss:
        """Draw a real batch and augment it."""
        batch = self.real.draw(self.objective.real_batch, self.streams["real batch"])
        drawn = draw(self.student.augmentation, len(batch.images), self.task.spec.shape, self.streams["real augmentation"])
        return RealBatchLoss(drawn(batch.images), batch.labels)

    def state(self) -> dict[str, Tensor]:
        """Return the precision of the steps so far."""
        return {"precision": torch.tensor(get_args(Precision).index(self.objective.precision))}

    def load(self, state: Mapping[str, Tensor]) -> bool:
        """Refuse steps that were taken in another precision.

        Such a cell has the same key, but its record could not tell which steps were taken in which precision.
        """
        return get_args(Precision)[int(state["precision"])] == self.objective.precision

    def facts(self) -> dict[str, str | float]:
        """Return engine and precision."""
        objective = self.objective
        chosen = engine_facts(self.engine, objective.engine, self.task.device, objective.precision) if self.engine else {}
        return {"precision": objective.precision, **chosen}
