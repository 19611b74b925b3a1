"""Matching training trajectories: MTT (Cazenavette et al., CVPR 2022, arXiv 2203.11932).

One outer step: start a student from what an expert was after a random epoch, train it for some steps of SGD on the distilled set, and
move the set and the student's learning rate so that it ends near what the expert was some epochs later. Loss, equation 2:
‖θ_N − θ*‖² / ‖θ_0 − θ*‖², with the student's last parameters θ_N, the expert's θ_0 where both start, and its later θ*.

The rate is one number, learned with the images. It becomes the rate of the set's own recipe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench import (
    OBJECTIVES,
    Batch,
    Between,
    Need,
    Objective,
    OneOf,
    OuterGradient,
    Parameterization,
    Run,
    Spec,
    Streams,
    Student,
    Task,
    TrainRecipe,
)
from bench.nn.networks import Parameters, flops_per_image, forward
from bench.nn.student import Strategy, settle_strategy
from bench.search import Search
from bench.train_recipe import Rate

from .._unroll import Engine, EngineName, ExpertDistance, FlatLayout, InnerSGD, WindowGradient, choose_engine, engine_facts
from ..prerequisites.experts import Experts, read_snapshot
from ._inner_batches import augmented, carried_back, decoded

Count = Annotated[int, Field(ge=1, le=1_000_000)]

#: The objective's own trained number.
RATE = "student_lr"
_LEAST_SHARE = 0.01  # of the rate it starts with, below which the learned rate is not let
_DIVERGED = 100.0  # a loss at which a student is ten times as far away as it began: of such a step the gradient says nothing
_AT_ONCE = 512  # images that are labelled together
_LEAP = 100.0  # a gradient so many times as long as they are in the mean; a set that followed it would hardly move again


@OBJECTIVES.register("mtt")
@dataclass(frozen=True, kw_only=True)
class TrajectoryMatching(Objective):
    """Distance of a student's parameters to an expert's.

    Defaults are those of the authors for CIFAR-10 at 1 image per class, but for the number of experts, of which they have a hundred.
    Where the form has ``labels=teacher``, the experts label the images, before the first step and once more after the last.

    The student's ``student_lr`` is where the learned rate starts, and its ``augmentation`` that of the unrolled steps. How a judged
    student is trained (momentum, weight decay, batch, steps) is not how it is unrolled, as in the authors' code.

    Attributes:
        experts: how many trajectories there are to choose from.
        expert_seeds: how many such collections there are; distillation seed s takes the one with number s modulo this.
        expert_epochs: epochs of an expert between start and target.
        max_start: starts are uniform in 0 ... max_start - 1.
        trained_epochs: how long experts are trained; 0 is as long as needed, max_start + expert_epochs - 1. A larger number lets
            recipes share experts that need them for different times.
        expert_lr: learning rate of the experts.
        expert_batch: images per step of theirs.
        expert_augmentation: their augmentation strategy; ``all`` is every operation that keeps the class.
        syn_steps: steps of the student.
        syn_batch: distilled images per step, taken in turn from one permutation after another; 0 takes all.
        lr_lr: outer learning rate of the student's rate; 0 leaves it as it is.
        engine: how the unroll is differentiated; ``auto`` follows the fixed rule of ``choose_engine``. All engines are exact.
    """

    name: ClassVar[str] = "mtt"
    reference: ClassVar[str] = "Cazenavette et al.: Dataset Distillation by Matching Training Trajectories, CVPR 2022, arXiv 2203.11932"
    outer_defaults: ClassVar[Mapping[str, Any]] = {
        "outer_iterations": 5000,
        "outer_optimizer": "sgd",
        "outer_lr": 100.0,
        "outer_momentum": 0.5,
    }
    student_defaults: ClassVar[Mapping[str, Any]] = {
        "student_optimizer": "sgd",
        "student_lr": 0.01,
        "student_momentum": 0.9,
        "student_weight_decay": 5e-4,
        "student_schedule": "step",
        "student_steps": 1000,
        "student_batch": 256,
        "augmentation": "all",
    }
    unkeyed: ClassVar[frozenset[str]] = frozenset({"engine"})
    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(1.0, 1000.0), "syn_steps": OneOf(10, 20, 50)}
    teaches: ClassVar[bool] = True

    experts: Annotated[int, Field(ge=1, le=10_000)] = 20
    expert_seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    expert_epochs: Count = 2
    max_start: Count = 2
    trained_epochs: Annotated[int, Field(ge=0, le=100_000)] = 0
    expert_lr: Rate = 0.01
    expert_batch: Count = 256
    expert_augmentation: Strategy = "all"
    syn_steps: Count = 50
    syn_batch: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    lr_lr: Rate = 1e-7
    engine: EngineName = "auto"

    @property
    def epochs(self) -> int:
        """How long experts are trained."""
        return self.trained_epochs or self._needed

    @property
    def _needed(self) -> int:
        """The last epoch that can be a target."""
        return self.max_start - 1 + self.expert_epochs

    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Open the experts and put streams in place."""
        return TrajectoryMatchingRun(self, task, student, steps)

    def refuses(self, spec: Spec, student: Student) -> str | None:
        """Refuse experts that are too short, and a student that is trained by something else than SGD on cross-entropy."""
        del spec
        if self._needed > self.epochs:
            return (
                f"objective=mtt with max_start {self.max_start} and expert_epochs {self.expert_epochs} needs experts of {self._needed} "
                f"epochs, and trained_epochs asks for {self.trained_epochs}"
            )
        if student.student_optimizer != "sgd" or student.student_loss != "cross_entropy" or not student.student_lr:
            return "objective=mtt learns the rate of SGD on cross-entropy; use student_optimizer=sgd, student_loss=cross_entropy and a rate"
        return None

    def needs(self, spec: Spec, student: Student, seed: int) -> tuple[Need, ...]:
        """Return the experts, one by one."""
        config = {
            "network": student.network,
            "space": student.space,
            "augmentation": settle_strategy(self.expert_augmentation, spec),
            "epochs": self.epochs,
            "lr": self.expert_lr,
            "batch_size": self.expert_batch,
        }
        first = seed % self.expert_seeds * self.experts
        return tuple(Need(Experts.name, config, number) for number in range(first, first + self.experts))

    def batch(self, images: int) -> int:
        """Return how many of ``images`` distilled images one step takes."""
        return min(self.syn_batch or images, images)

    def flops(self, spec: Spec, student: Student, images: int) -> float:
        """Estimate one outer step. A differentiated inner step costs about 8.8 forward passes."""
        return 8.8 * flops_per_image(student.build(spec), spec) * self.batch(images) * self.syn_steps


class TrajectoryMatchingRun(Run):
    """Trajectory matching at work on one cell."""

    def __init__(self, objective: TrajectoryMatching, task: Task, student: Student, steps: int) -> None:
        """Open the experts and put streams in place; ``student`` must be settled."""
        self.objective, self.task, self.student, self.steps = objective, task, student, steps
        self.experts: list[Path] = [task.find(need) for need in objective.needs(task.spec, student, task.seed)]
        self.network = student.build(task.spec)
        self.layout = FlatLayout.of(dict(self.network.named_parameters()))
        # Double, as its steps are far smaller than the number itself.
        self.rate = torch.tensor(student.student_lr, dtype=torch.float64)
        self.norm = math.inf  # running mean of the length of gradients, before the first
        self.engine: Engine | None = None
        self.streams = Streams(task, "expert", "inner batch", "inner augmentation")

    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        """Train a student from an expert's start, and carry the gradient of its distance to the target back."""
        del progress
        start, target = self.draw_expert()
        batches = self.inner_batches(stored)
        found = self._unrolled(len(stored), start, target, batches)
        if not math.isfinite(found.loss) or found.loss > _DIVERGED:
            return OuterGradient(found.loss, {}, diverged=True)
        gradients = carried_back(stored, batches, found.images, found.labels)
        diverged = self._leaps(gradients)
        gradients[RATE] = torch.tensor(found.lr, dtype=torch.float64)
        return OuterGradient(found.loss, gradients, diverged=diverged or not math.isfinite(found.lr))

    def _leaps(self, gradients: Mapping[str, Tensor]) -> bool:
        """Tell whether gradients are not finite or far longer than they were so far, on which the stored numbers must not set out.

        A student with instance norm does not mind the contrast of images, so that images which leapt far away give small, finite
        gradients ever after.
        """
        norm = float(torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt())
        if not math.isfinite(norm) or 0.0 < _LEAP * self.norm < norm:
            return True
        self.norm = norm if self.norm in (0.0, math.inf) else 0.9 * self.norm + 0.1 * norm
        return False

    def draw_expert(self) -> tuple[Parameters, Parameters]:
        """Return what a random expert was after a random epoch, and some epochs later."""
        stream = self.streams["expert"]
        expert = self.experts[int(torch.randint(len(self.experts), (1,), generator=stream))]
        epoch = int(torch.randint(self.objective.max_start, (1,), generator=stream))
        later = epoch + self.objective.expert_epochs
        return read_snapshot(expert, epoch, self.task.device), read_snapshot(expert, later, self.task.device)

    def inner_batches(self, stored: Parameterization) -> list[Batch]:
        """Decode and augment the batches of all steps, attached to the stored tensors."""
        steps, count = self.objective.syn_steps, self.objective.batch(len(stored))
        index = None if count == len(stored) else self._index(len(stored), count, steps).to(self.task.device)
        images, labels = decoded(stored, index, steps)
        images = augmented(images, self.student.augmentation, self.streams["inner augmentation"])
        return list(map(Batch, images.unbind(), labels.unbind()))

    def _index(self, images: int, count: int, steps: int) -> Tensor:
        """Return (steps, count) images: one permutation after another in parts of ``count``; a rest that is too small is dropped."""
        parts = images // count
        walks = [torch.randperm(images, generator=self.streams["inner batch"]) for _ in range(math.ceil(steps / parts))]
        return torch.cat([walk[: parts * count].view(parts, count) for walk in walks])[:steps]

    def _unrolled(self, images: int, start: Parameters, target: Parameters, batches: list[Batch]) -> WindowGradient:
        if self.engine is None:
            work = self.objective.flops(self.task.spec, self.student, images) * self.steps
            self.engine = choose_engine(self.network, self.task.spec.shape, self.task.device, engine=self.objective.engine, work=work)
        inner = InnerSGD(float(self.rate))
        outer = ExpertDistance(target=self.layout.ordered(target), start=self.layout.ordered(start))
        return self.engine.window_gradient(self.engine.start([start], inner), batches, inner, outer)

    def trained(self) -> dict[str, tuple[Tensor, float]]:
        """Return the student's rate."""
        return {RATE: (self.rate, self.objective.lr_lr)}

    def project(self) -> None:
        """Keep the rate above zero."""
        self.rate.clamp_(min=_LEAST_SHARE * self.student.student_lr)

    @torch.no_grad()
    def labels(self, stored: Parameterization) -> Tensor:
        """Return the experts' mean softmax, each as it was in the end, of every decoded image as it is stored, in the student's space."""
        rows = []
        for index in torch.arange(len(stored), device=self.task.device).split(_AT_ONCE):
            images = stored.decode(index).images
            said = [forward(self.network, read_snapshot(e, self.objective.epochs, self.task.device), images) for e in self.experts]
            rows.append(torch.stack([logits.softmax(1) for logits in said]).mean(0))
        return torch.cat(rows)

    def recipe(self, recipe: TrainRecipe) -> TrainRecipe:
        """Put the learned rate into the set's own recipe."""
        return replace(recipe, lr=float(self.rate))

    def state(self) -> dict[str, Tensor]:
        """Return how long gradients are in the mean."""
        return {"norm": torch.tensor(self.norm, dtype=torch.float64)}

    def load(self, state: Mapping[str, Tensor]) -> bool:
        """Go on with it."""
        self.norm = float(state["norm"])
        return True

    def facts(self) -> dict[str, str | float]:
        """Return the engine and the learned rate."""
        chosen = engine_facts(self.engine, self.objective.engine, self.task.device, "float32") if self.engine else {}
        return {"learned_rate": float(self.rate), **chosen}
