"""Regression on neural features: FRePo (Zhou, Nezhadarya, Ba, NeurIPS 2022, arXiv 2206.00719).

One outer step: a network of a pool turns distilled and real images into features (the inputs of its last layer), kernel ridge
regression predicts the labels of the real images from the distilled ones, and images and labels follow the error of that. Then
the same network takes one step of training on the distilled set; when it is too old, a fresh one takes its place. So the inner
training is cut into single steps, of which none is differentiated: the last layer alone is solved for, in closed form.

Labels of any kind are regressed on, after every row has lost its mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bench import OBJECTIVES, Batch, Between, Objective, OuterGradient, Parameterization, Run, Spec, Streams, Student, Task
from bench.nn.networks import Parameters, features, flops_per_image
from bench.nn.real import RealImages
from bench.nn.training import squared_error
from bench.search import Search
from bench.train_recipe import Rate

from .._unroll import InnerAdam
from ._kernel_regression import kernel_regression, label_margin
from ._pool import Pool

Count = Annotated[int, Field(ge=1, le=1_000_000)]

_AT_ONCE = 512  # images that go through a network together


@OBJECTIVES.register("frepo")
@dataclass(frozen=True, kw_only=True)
class FeatureRegression(Objective):
    """Squared error of kernel ridge regression on features, minus the margin of the labels; defaults are the authors'.

    Attributes:
        real_batch: real images per outer step.
        pool_size: networks in the pool.
        max_age: steps of training after which a network is replaced.
        network_lr: Adam's rate for the networks.
        network_batch: at most so many distilled images per step of a network.
        use_flip: whether mirrored distilled images take part in the regression, beside the others and with their labels.
        ridge: λ of the regression, as a share of the mean eigenvalue of the kernel.
    """

    name: ClassVar[str] = "frepo"
    reference: ClassVar[str] = "Zhou, Nezhadarya, Ba: Dataset Distillation using Neural Feature Regression, NeurIPS 2022, arXiv 2206.00719"
    centred_labels: ClassVar[bool] = True
    outer_defaults: ClassVar[Mapping[str, Any]] = {
        "outer_iterations": 500_000,
        "outer_lr": 3e-4,
        "label_lr": 9e-5,
        "outer_schedule": "cosine",
    }
    student_defaults: ClassVar[Mapping[str, Any]] = {"student_loss": "mse"}
    form_defaults: ClassVar[Mapping[str, Any]] = {"labels": "centred"}
    search: ClassVar[Mapping[str, Search | None]] = {
        "outer_lr": Between(1e-4, 1e-1),
        "label_lr": Between(1e-5, 1e-1),
        "ridge": Between(1e-6, 1e-1),
    }

    real_batch: Count = 1024
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    max_age: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    network_lr: Rate = 3e-4
    network_batch: Count = 1000
    use_flip: bool = False
    ridge: Annotated[float, Field(gt=0, le=1)] = 1e-6

    def begin(self, task: Task, student: Student, steps: int) -> Run:
        """Draw the pool, and put real images and streams in place."""
        del steps
        return FeatureRegressionRun(self, task, student)

    def refuses(self, spec: Spec, student: Student) -> str | None:
        """Refuse mirrored images where they may be another class."""
        del student
        if self.use_flip and not spec.mirror:
            return f"use_flip=true mirrors images, and on {spec.name} a mirror image may be another class; use use_flip=false"
        return None

    def flops(self, spec: Spec, student: Student, images: int) -> float:
        """Estimate one outer step: a forward pass of the real images, and about 2.9 of what is differentiated."""
        differentiated = images * (2 if self.use_flip else 1) + min(images, self.network_batch)
        return flops_per_image(student.build(spec), spec) * (self.real_batch + 2.9 * differentiated)


class FeatureRegressionRun(Run):
    """Feature regression at work on one cell."""

    def __init__(self, objective: FeatureRegression, task: Task, student: Student) -> None:
        """Draw the pool, and put real images and streams in place; ``student`` must be settled."""
        self.objective, self.task = objective, task
        self.real = RealImages.of(task.spec, task.train, task.space(student.space), task.device)
        self.architecture = student.build(task.spec)
        self.streams = Streams(task, "network", "choice of network", "network batch", "real batch")
        adam = InnerAdam(objective.network_lr)
        self.pool = Pool(self.architecture, objective.pool_size, objective.max_age, adam, self.streams["network"], task.device)
        self.used: int | None = None  # whose turn it is to be trained

    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        """Train the network of the last step on what became of the set, draw one, and differentiate the regression in it."""
        del progress
        distilled = stored.decode(None)
        if self.used is not None:
            self.pool.train(self.used, self._network_batch(distilled))
        self.used = chosen = int(torch.randint(len(self.pool.ages), (1,), generator=self.streams["choice of network"]))
        real = self.real.draw(self.objective.real_batch, self.streams["real batch"])
        loss = self._loss(self.pool.parameters(chosen), distilled, real)
        if loss is not None and bool(loss.isfinite()):
            return OuterGradient.of(loss, stored)
        # The outer loop skips and counts steps without a finite gradient; another network may do better in this one's place.
        self.pool.replace(chosen)
        self.used = None
        return OuterGradient(math.nan, {name: torch.full_like(tensor, math.nan) for name, tensor in stored.trained().items()})

    def _loss(self, network: Parameters, distilled: Batch, real: Batch) -> Tensor | None:
        """Return ½ the squared error of the regression minus the margin of the labels, or ``None`` where it cannot be solved."""
        images, labels = distilled.images, centred(distilled.labels)
        margin = label_margin(labels)
        if self.objective.use_flip:
            images, labels = torch.cat([images, images.flip(-1)]), torch.cat([labels, labels])
        with torch.no_grad():
            there = self._features(network, real.images)
        predicted = kernel_regression(self._features(network, images), labels, there, self.objective.ridge)
        return None if predicted is None else squared_error(predicted, centred(real.labels)) - margin

    def _features(self, network: Parameters, images: Tensor) -> Tensor:
        """Return (n, d) features; of many images part by part, so that memory stays that of one part."""
        parts = images.split(_AT_ONCE)
        if len(parts) == 1 or not images.requires_grad:
            return torch.cat([features(self.architecture, network, part) for part in parts])
        again = [checkpoint(features, self.architecture, network, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        return torch.cat(again)

    def _network_batch(self, distilled: Batch) -> Batch:
        """Draw what a network is trained on: all of the set, or as much as a batch holds."""
        images, labels = distilled.images.detach(), centred(distilled.labels.detach())
        if len(images) > self.objective.network_batch:
            index = torch.randperm(len(images), generator=self.streams["network batch"])[: self.objective.network_batch]
            images, labels = images[index.to(images.device)], labels[index.to(images.device)]
        return Batch(images, labels)

    def state(self) -> dict[str, Tensor]:
        """Return the pool, and which network was used last."""
        return {**self.pool.state(), "used": torch.tensor(-1 if self.used is None else self.used)}

    def load(self, state: Mapping[str, Tensor]) -> bool:
        """Go on with the pool of a checkpoint."""
        self.pool.load(state)
        self.used = None if int(state["used"]) < 0 else int(state["used"])
        return True


def centred(labels: Tensor) -> Tensor:
    """Return (n, k) rows without their means."""
    return labels - labels.mean(1, keepdim=True)
