"""One outer step of gradient and distribution matching, and the same step in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bench import Batch, BudgetRequest, Spec, Split, Student, Task
from bench.decoders.images import Images
from bench.methods.objectives._by_class import ClassPart
from bench.methods.objectives._distances import distance
from bench.methods.objectives.dc import GradientMatching, GradientMatchingRun
from bench.methods.objectives.dm import DistributionMatching
from bench.nn.networks import forward
from bench.nn.spaces import fit_space
from bench.nn.training import soft_cross_entropy
from bench.seeding import stream

CPU = torch.device("cpu")


class PlainGradientMatching(GradientMatchingRun):
    """The same draws; PyTorch differentiates the gradient of the distilled images in one graph."""

    def _match(self, theta: Tensor, real: Batch, images: Tensor, part: ClassPart) -> float:
        flat = self.engine.gradients.unpack(theta)[0]
        leaves = {name: value.clone().requires_grad_() for name, value in self.engine.layout.unflatten(flat).items()}

        def gradient(x: Tensor, y: Tensor, **options: Any) -> dict[str, Tensor]:
            loss = soft_cross_entropy(forward(self.architecture, leaves, x), y)
            return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), **options), strict=True))

        there = gradient(real.images, real.labels)
        here = gradient(images, part.targets(self.task.spec.classes), create_graph=True)
        value = distance(self.objective.distance, self.objective.layers, here, there)
        value.backward()
        return float(value.detach())


@dataclass(frozen=True)
class Matching:
    """One outer step on random data, one distilled image of every class.

    Attributes:
        spec: shape of the images.
        network: the student.
        objective: ``dc`` or ``dm``.
        siamese: augmentation strategy.
        class_batch: real images of every class.
    """

    spec: Spec
    network: str
    objective: str
    siamese: str = "none"
    class_batch: int = 256

    def gflop(self) -> float:
        """Return the useful work."""
        return self._made("auto").flops(self.spec, Student(network=self.network), self.spec.classes) / 1e9

    def small(self) -> Matching:
        """Return a quick case."""
        return replace(self, class_batch=8)

    def prepare(self, engine: str, device: torch.device = CPU) -> Callable[[], list[Tensor]]:
        """Draw the data and return the outer step: the gradient of the images. ``plain`` is plain PyTorch."""
        generator = stream("benchmark matching")
        count = self.class_batch * self.spec.classes
        images = torch.randint(0, 256, (count, *self.spec.shape), generator=generator, dtype=torch.uint8)
        train = Split(images, torch.arange(count) % self.spec.classes)
        budget = BudgetRequest.parse("1").resolve(self.spec.classes, self.spec.height, self.spec.width)
        task = Task(self.spec, train, budget, 0, "benchmark", device, open_space=lambda name: fit_space(name, train))
        student = Student(network=self.network, space="standard").settle(self.spec)
        stored = Images(self.spec, self.spec.classes).to(device)
        with torch.no_grad():
            stored.images.copy_(torch.randn(stored.images.shape, generator=generator))

        def step() -> list[Tensor]:
            # A new run draws the same network and the same real images every time.
            plain = engine == "plain"
            objective = self._made(("generic" if plain else "auto") if self.objective == "dm" else engine)
            made = PlainGradientMatching if plain and isinstance(objective, GradientMatching) else None
            run = made(objective, task, student, 1) if made else objective.begin(task, student, 1)
            return [run.gradient(stored, 0.0).gradients["images"]]

        return step

    def _made(self, engine: Any) -> GradientMatching | DistributionMatching:
        kind = GradientMatching if self.objective == "dc" else DistributionMatching
        return kind(siamese=self.siamese, class_batch=self.class_batch, engine=engine)
