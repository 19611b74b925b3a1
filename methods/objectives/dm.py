"""Distribution matching: DM (Zhao & Bilen, WACV 2023, arXiv 2110.04181).

One outer step: a network that is never trained turns images into features (the inputs of its last layer); the mean feature of
the distilled images of every class is to be that of real ones. Loss: Σ_c ‖mean f(real_c) − mean f(distilled_c)‖².

Soft labels: an image takes part in the mean of every class by its share of the label. With hard labels that is the original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bench import OBJECTIVES, Batch, BenchError, Between, Parameterization, Run, Spec, Student, Task
from bench.nn.convnet.native import NativeConvNet
from bench.nn.convnet.training import compiled_net, packed
from bench.nn.networks import Parameters, features, flops_per_image, initial_parameters
from bench.nn.student import Strategy
from bench.search import Search

from ._by_class import ByClass, ByClassRun, ClassPart, Match


@OBJECTIVES.register("dm")
@dataclass(frozen=True, kw_only=True)
class DistributionMatching(ByClass):
    """Distance of mean features, class by class, in random networks.

    Attributes:
        siamese: as in ``ByClass``; the authors augment by every operation.
        engine: how the features of real images are computed: ``cpp`` by the compiled kernels, ``generic`` by PyTorch;
            ``auto`` takes the kernels for a ConvNet on the CPU, if they can be built here.
    """

    name: ClassVar[str] = "dm"
    reference: ClassVar[str] = "Zhao, Bilen: Dataset Condensation with Distribution Matching, WACV 2023, arXiv 2110.04181"
    outer_defaults: ClassVar[Mapping[str, Any]] = {
        "outer_iterations": 20_000,
        "outer_optimizer": "sgd",
        "outer_lr": 1.0,
        "outer_momentum": 0.5,
    }
    unkeyed: ClassVar[frozenset[str]] = frozenset({"engine"})
    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(0.1, 30.0)}

    siamese: Strategy = "all"
    engine: Literal["auto", "cpp", "generic"] = "auto"

    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Put real images and streams in place."""
        del steps
        return DistributionMatchingRun(self, task, student)

    def flops(self, spec: Spec, student: Student, images: int) -> float:
        """Estimate one outer step: a forward pass of the real images, and about 2.9 of the distilled ones."""
        return flops_per_image(student.build(spec), spec) * (spec.classes * self.class_batch + 2.9 * images)


class DistributionMatchingRun(ByClassRun[DistributionMatching]):
    """Distribution matching at work on one cell."""

    def __init__(self, objective: DistributionMatching, task: Task, student: Student) -> None:
        """Put real images and streams in place; ``student`` must be settled."""
        super().__init__(objective, task, student, "network")
        self.kernels = self._kernels()

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

    def matcher(self, stored: Parameterization) -> Match:
        """Compare mean features in a fresh network."""
        network = initial_parameters(self.architecture, self.streams["network"], self.task.device)
        return partial(self._match, network, self._embedding(network))

    def _embedding(self, network: Parameters) -> Callable[[Tensor], Tensor]:
        """Return what computes features of real images, the most of a step: the kernels where they are at hand."""
        if self.kernels is None:
            return partial(features, self.architecture, network)
        return partial(self.kernels.features, packed(self.kernels, self.architecture, network))

    def _match(self, network: Parameters, embed: Callable[[Tensor], Tensor], real: Batch, images: Tensor, part: ClassPart) -> float:
        """Compare the mean features of one class; see ``Match``."""
        with torch.no_grad():
            wanted = embed(real.images).mean(0)
        found = (part.weights.unsqueeze(1) * features(self.architecture, network, images)).sum(0)
        loss = (wanted - found).square().sum()
        loss.backward()  # into the leaves
        return float(loss.detach())

    def facts(self) -> dict[str, str | float]:
        """Return what computed the features of real images."""
        return {"engine": "generic" if self.kernels is None else "cpp"}
