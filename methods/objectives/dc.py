"""Gradient matching: DC (Zhao, Mopuri, Bilen, ICLR 2021), DSA (Zhao & Bilen, ICML 2021) and what IDC makes of it.

One outer step: at the same network, compare class by class the gradient of real images with that of the distilled ones, and
move the distilled images so that the two come nearer. Between the steps the network may be trained on, on the distilled or on
real images; after some steps a fresh one takes its place.

Soft labels: an image takes part in every class by its share of the label, and the gradient of a class is the weighted mean of
the gradients of −log p of that class. With hard labels that is the original; summed over classes by their weight, it is the
gradient of the cross-entropy on soft labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import OBJECTIVES, Batch, Between, Parameterization, Run, Spec, Student, Task
from bench.nn.augment import draw
from bench.nn.networks import flops_per_image, initial_parameters
from bench.nn.student import Strategy, settle_strategy
from bench.search import Search
from bench.train_recipe import Rate

from .._unroll import EngineName, InnerSGD, SGDState, SweepEngine, choose_sweep, engine_facts
from ._by_class import ByClass, ByClassRun, ClassPart, Match
from ._cutmix import cutmix
from ._distances import DistanceName, Layers, distance

Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Field(ge=0, le=1_000_000)]


@OBJECTIVES.register("dc")
@dataclass(frozen=True, kw_only=True)
class GradientMatching(ByClass):
    """Distance of real and distilled gradients, class by class; defaults are DC's at one image per class.

    Attributes:
        distance: ``cosine`` of the rows of each layer (DC, DSA), or the sum of ``squared`` or ``absolute`` differences
            (IDC).
        layers: compares the gradients of all ``weights``, or of ``convolutions`` alone (IDC).
        network_updates: outer steps that a network is used for, after which a fresh one is drawn.
        network_steps: steps of SGD that it is trained between two of them.
        network_data: what it is trained on then, ``distilled`` images (DC, DSA) or ``real`` ones (IDC).
        network_batch: images per such step.
        network_lr: their learning rate.
        network_momentum: their momentum.
        network_weight_decay: their weight decay.
        network_cutmix: chance that CutMix is applied to a batch of real images.
        network_augmentation: augmentation strategy of these batches, with parameters of its own for every sample.
        engine: how gradients and their derivatives are computed; ``auto`` follows a fixed rule (docs/engine.md).
    """

    name: ClassVar[str] = "dc"
    reference: ClassVar[str] = "Zhao, Mopuri, Bilen: Dataset Condensation with Gradient Matching, ICLR 2021, arXiv 2006.05929"
    outer_defaults: ClassVar[Mapping[str, Any]] = {
        "outer_iterations": 1000,
        "outer_optimizer": "sgd",
        "outer_lr": 0.1,
        "outer_momentum": 0.5,
    }
    unkeyed: ClassVar[frozenset[str]] = frozenset({"engine"})
    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(1e-2, 1.0)}

    distance: DistanceName = "cosine"
    layers: Layers = "weights"
    network_updates: Count = 1
    network_steps: CountOrNone = 0
    network_data: Literal["distilled", "real"] = "distilled"
    network_batch: Count = 256
    network_lr: Rate = 0.01
    network_momentum: Rate = 0.0
    network_weight_decay: Rate = 0.0
    network_cutmix: Annotated[float, Field(ge=0, le=1)] = 0.0
    network_augmentation: Strategy = "none"
    engine: EngineName = "auto"

    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Put real images and streams in place."""
        return GradientMatchingRun(self, task, student, steps)

    def flops(self, spec: Spec, student: Student, images: int) -> float:
        """Estimate one outer step: a gradient costs about 2.9 forward passes, one that is differentiated 8.8."""
        trained = self.network_steps * self.network_batch * (1.0 - 1.0 / self.network_updates)
        return flops_per_image(student.build(spec), spec) * (2.9 * (spec.classes * self.class_batch + trained) + 8.8 * images)


class GradientMatchingRun(ByClassRun[GradientMatching]):
    """Gradient matching at work on one cell."""

    def __init__(self, objective: GradientMatching, task: Task, student: Student, steps: int) -> None:
        """Put real images and streams in place; ``student`` must be settled."""
        super().__init__(objective, task, student, "network", "network batch", "network augmentation")
        self.augmentation = settle_strategy(objective.network_augmentation, task.spec)
        self.inner = InnerSGD(objective.network_lr, objective.network_momentum, objective.network_weight_decay)
        work = objective.flops(task.spec, student, task.spec.classes) * steps
        self.engine: SweepEngine = choose_sweep(self.architecture, task.spec.shape, task.device, objective.engine, work)
        self.network: SGDState | None = None
        self.updates = 0  # outer steps that it was used for

    def matcher(self, stored: Parameterization) -> Match:
        """Compare gradients in a fresh network, or in the last one after more training."""
        return partial(self._match, self._network(stored))

    def _network(self, stored: Parameterization) -> Tensor:
        """Return the network of this step, as the engine packs it: a fresh one, or the last one after more training."""
        if self.network is None or self.updates == self.objective.network_updates:
            drawn = initial_parameters(self.architecture, self.streams["network"], self.task.device)
            state, self.updates = self.engine.start([drawn], self.inner), 0
        else:
            state = self.network
            for _ in range(self.objective.network_steps):
                state = self.engine.advance(state, self._network_batch(stored), self.inner)
        assert isinstance(state, SGDState)  # the inner optimizer is SGD
        self.network = state
        self.updates += 1
        return state.theta

    @torch.no_grad()
    def _network_batch(self, stored: Parameterization) -> Batch:
        """Draw a batch that the network is trained on, augmented with parameters of its own for every sample."""
        objective, order, mix = self.objective, self.streams["network batch"], self.streams["network augmentation"]
        if objective.network_data == "real":
            batch = cutmix(self.real.draw(objective.network_batch, order), objective.network_cutmix, mix)
        else:
            index = torch.randperm(len(stored), generator=order)[: objective.network_batch]
            batch = stored.decode(index.to(self.task.device))
        return Batch(draw(self.augmentation, len(batch.images), self.task.spec.shape, mix)(batch.images), batch.labels)

    def _match(self, theta: Tensor, real: Batch, images: Tensor, part: ClassPart) -> float:
        """Compare the gradients of one class; see ``Match``."""
        gradients, targets = self.engine.gradients, part.targets(self.task.spec.classes)
        there, _, _ = gradients.gradient(theta, real)
        batch = Batch(images.detach(), targets.detach())
        keep = 0 < gradients.tape_bytes(len(images)) <= self.engine.tape_budget
        here, tape, _ = gradients.gradient(theta, batch, keep=keep)
        value, direction = self._distance(here, there)
        _, to_images, to_targets = gradients.product(theta, direction, batch, tape)
        flowing = [(root, gradient) for root, gradient in ((images, to_images), (targets, to_targets)) if root.requires_grad]
        torch.autograd.backward([root for root, _ in flowing], [gradient for _, gradient in flowing])
        return value

    def _distance(self, here: Tensor, there: Tensor) -> tuple[float, Tensor]:
        """Return the distance of two packed (1, P) gradients, and its gradient with respect to the first, packed."""
        engine = self.engine
        moved = engine.gradients.unpack(here).requires_grad_()
        with torch.enable_grad():
            one, other = (engine.layout.unflatten(flat[0]) for flat in (moved, engine.gradients.unpack(there)))
            value = distance(self.objective.distance, self.objective.layers, one, other)
            (direction,) = torch.autograd.grad(value, moved)
        return float(value.detach()), engine.gradients.pack(direction)

    def state(self) -> dict[str, Tensor]:
        """Return the network in the order of its parameters, whatever the engine, and how often it was used."""
        if self.network is None:
            return {}
        unpack = self.engine.gradients.unpack
        parts = {"theta": unpack(self.network.theta), "velocity": unpack(self.network.velocity)}
        return parts | {"updates": torch.tensor(self.updates)}

    def load(self, state: Mapping[str, Tensor]) -> bool:
        """Go on with the network of a checkpoint."""
        if state:
            theta, velocity = (self.engine.gradients.pack(state[name].to(self.task.device)) for name in ("theta", "velocity"))
            self.network, self.updates = SGDState(theta, velocity, 0), int(state["updates"])
        return True

    def facts(self) -> dict[str, str | float]:
        """Return the engine."""
        return engine_facts(self.engine, self.objective.engine, self.task.device, "float32")
