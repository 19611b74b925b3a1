"""Distribution matching: DM (Zhao & Bilen, WACV 2023, arXiv 2110.04181).

One outer step: a network that is never trained turns images into features (the inputs of its last layer); the mean feature of
the distilled images of every class is to be that of real ones. Loss: Σ_c ‖mean f(real_c) − mean f(distilled_c)‖².

Soft labels: an image takes part in the mean of every class by its share of the label. With hard labels that is the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import OBJECTIVES, BenchError, Objective, OuterGradient, Parameterization, Run, Spec, Streams, Student, Task
from bench.nn.convnet.native import NativeConvNet
from bench.nn.convnet.training import compiled_net, packed
from bench.nn.networks import Parameters, features, flops_per_image, initial_parameters
from bench.nn.real import RealImages
from bench.nn.student import Strategy, settle_strategy

from ._by_class import ClassPart, Leaves, class_parts, siamese


@OBJECTIVES.register("dm")
@dataclass(frozen=True, kw_only=True)
class DistributionMatching(Objective):
    """Distance of mean features, class by class, in random networks.

    Attributes:
        class_batch: real images of every class per outer step.
        distilled_batch: at most so many distilled images of a class per outer step; 0 takes all.
        siamese: augmentation strategy of which one operation with one set of parameters is applied to the real and the
            distilled images of a class alike; ``all`` is every operation that keeps the class.
        engine: how the features of real images are computed: ``cpp`` by the compiled kernels, ``generic`` by PyTorch;
            ``auto`` takes the kernels for a ConvNet on the CPU, if they can be built here.
    """

    name: ClassVar[str] = "dm"
    reference: ClassVar[str] = "Zhao, Bilen: Dataset Condensation with Distribution Matching, WACV 2023, arXiv 2110.04181"
    by_class: ClassVar[bool] = True
    outer_defaults: ClassVar[Mapping[str, Any]] = {
        "outer_iterations": 20_000,
        "outer_optimizer": "sgd",
        "outer_lr": 1.0,
        "outer_momentum": 0.5,
    }
    unkeyed: ClassVar[frozenset[str]] = frozenset({"engine"})

    class_batch: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    distilled_batch: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    siamese: Strategy = "all"
    engine: Literal["auto", "cpp", "generic"] = "auto"

    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Put real images and streams in place."""
        del steps
        return DistributionMatchingRun(self, task, student)

    def flops(self, spec: Spec, student: Student, images: int) -> float:
        """Estimate one outer step: a forward pass of the real images, and about 2.9 of the distilled ones."""
        return flops_per_image(student.build(spec), spec) * (spec.classes * self.class_batch + 2.9 * images)


class DistributionMatchingRun(Run):
    """Distribution matching at work on one cell."""

    def __init__(self, objective: DistributionMatching, task: Task, student: Student) -> None:
        """Put real images and streams in place; ``student`` must be settled."""
        self.objective, self.task = objective, task
        self.siamese = settle_strategy(objective.siamese, task.spec)
        self.real = RealImages.of(task.spec, task.train, task.space(student.space), task.device)
        self.architecture = student.build(task.spec)
        self.kernels = self._kernels()
        self.streams = Streams(task, "network", "real batch", "distilled batch", "siamese augmentation")

    def _kernels(self) -> NativeConvNet | None:
        """Return what computes the features of real images, or nothing where PyTorch does.

        Raises:
            BenchError: the kernels were asked for by name and cannot be used.
        """
        asked = self.objective.engine
        found = None if asked == "generic" else compiled_net(self.architecture, self.task.spec.shape, self.task.device)
        if asked == "cpp" and found is None:
            raise BenchError("engine cpp does a ConvNet on the CPU where a C++ compiler is; use engine auto or generic")
        return found

    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        """Compare the mean features of every class in a fresh network, and carry the gradient into the stored tensors."""
        del progress
        leaves, total = Leaves.of(stored), 0.0
        network = initial_parameters(self.architecture, self.streams["network"], self.task.device)
        for part in class_parts(leaves.batch, self.objective.distilled_batch, self.streams["distilled batch"]):
            total += self._match(network, part)
        return OuterGradient(total, leaves.carried_back(stored))

    def _match(self, network: Parameters, part: ClassPart) -> float:
        """Compare the mean features of one class; the gradient of its images and labels is left in their leaves."""
        real = self.real.draw_class(part.label, self.objective.class_batch, self.streams["real batch"])
        if not len(real.images):
            return 0.0  # a class without training images has nothing to match
        there, here = siamese(self.siamese, self.task.spec.shape, self.streams["siamese augmentation"], real.images, part.images)
        with torch.no_grad():
            wanted = self._features(network, there).mean(0)  # most of the time of a step: real images are many
        found = (part.weights.unsqueeze(1) * features(self.architecture, network, here)).sum(0)
        loss = (wanted - found).square().sum()
        loss.backward()  # into the leaves
        return float(loss.detach())

    def _features(self, network: Parameters, images: Tensor) -> Tensor:
        if self.kernels is None:
            return features(self.architecture, network, images)
        return self.kernels.features(packed(self.kernels, self.architecture, network), images)

    def facts(self) -> dict[str, str | float]:
        """Return what computed the features of real images."""
        return {"engine": "generic" if self.kernels is None else "cpp"}
