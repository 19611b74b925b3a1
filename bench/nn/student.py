"""The student as a contestant sets it: pixel space, network, augmentation, and how it is trained on the finished set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator
from torch import nn

from ..data import Spec
from ..fields import named_in
from ..search import Between, OneOf, Search
from ..train_recipe import BatchSize, Loss, Optimizer, Rate, Schedule, Steps, TrainRecipe
from .augment import parse_strategy
from .networks import build_network, check_network_name, default_network
from .spaces import SPACES, default_space


def _strategy(text: str) -> str:
    if text not in ("auto", "all"):
        parse_strategy(text)
    return text


#: Name of an augmentation strategy, or ``auto`` or ``all``.
Strategy = Annotated[str, AfterValidator(_strategy)]


def settle_strategy(strategy: str, spec: Spec) -> str:
    """Return what ``auto`` and ``all`` stand for on a data set; other strategies as they are.

    Example:
        >>> from bench import Spec
        >>> from bench.nn.student import settle_strategy
        >>> settle_strategy("all", Spec("letters", 2, (1, 28, 28), ("a", "b"), mirror=False))
        'crop_cutout_scale_rotate'
    """
    everything = ["color"] * (spec.channels == 3) + ["crop", "cutout"] + ["flip"] * spec.mirror + ["scale", "rotate"]
    named = {"auto": "flip_rotate" if spec.mirror else "rotate", "all": "_".join(everything)}
    return named.get(strategy, strategy)


def _network(name: str) -> str:
    if name:
        check_network_name(name)
    return name


#: Name of a student network; empty is the data set's default.
Network = Annotated[str, AfterValidator(_network)]


@dataclass(frozen=True, kw_only=True)
class Student:
    """Hyper-parameters of the student, in the loop where an objective trains one, and in the set's own recipe.

    Attributes:
        space: pixel space; ``auto`` is zca_kip on colour images and standard on grey ones.
        network: student network; empty is the data set's default.
        augmentation: strategy of ``bench.nn.augment``; ``auto`` is flip_rotate, or rotate where a flip would change the
            class; ``all`` is every operation that keeps the class.
        student_optimizer: ``adam`` or ``sgd``.
        student_lr: learning rate.
        student_momentum: of ``sgd``.
        student_weight_decay: added to the gradient.
        student_schedule: of the learning rate.
        student_steps: training steps of a judged student.
        student_batch: distilled images per step; 0 takes all.
        student_loss: ``cross_entropy`` on soft targets, or ``mse``, which centred labels need.

    Example:
        >>> from bench import Spec, Student
        >>> spec = Spec("letters", 26, (1, 28, 28), tuple("abcdefghijklmnopqrstuvwxyz"), mirror=False)
        >>> student = Student(student_lr=0.01, student_batch=50).settle(spec)
        >>> student.space, student.network, student.augmentation
        ('standard', 'convnet-d3-w128', 'rotate')
        >>> student.batch(26), student.batch(260), student.recipe(260).lr
        (26, 50, 0.01)
    """

    search: ClassVar[Mapping[str, Search | None]] = {"student_lr": Between(5e-4, 5e-2), "student_steps": OneOf(50, 100, 200, 400)}

    space: Annotated[str, named_in("pixel space", SPACES, ("auto",))] = "auto"
    network: Network = ""
    augmentation: Strategy = "auto"
    student_optimizer: Optimizer = "adam"
    student_lr: Rate = 1e-3
    student_momentum: Rate = 0.9
    student_weight_decay: Rate = 0.0
    student_schedule: Schedule = "constant"
    student_steps: Steps = 1000
    student_batch: BatchSize = 0
    student_loss: Loss = "cross_entropy"

    def settle(self, spec: Spec) -> Self:
        """Replace ``auto`` and empty choices by what they stand for on a data set."""
        return replace(
            self,
            augmentation=settle_strategy(self.augmentation, spec),
            space=default_space(spec) if self.space == "auto" else self.space,
            network=self.network or default_network(spec),
        )

    def batch(self, images: int) -> int:
        """Return how many of ``images`` distilled images one step takes."""
        return self.student_batch if 0 < self.student_batch < images else images

    def recipe(self, images: int) -> TrainRecipe:
        """Return how a student is trained on a finished set of ``images`` images."""
        sgd = self.student_optimizer == "sgd"
        return TrainRecipe(
            optimizer=self.student_optimizer,
            lr=self.student_lr,
            steps=self.student_steps,
            batch_size=self.batch(images) % images,  # all of them are written as 0
            momentum=self.student_momentum if sgd else 0.0,
            weight_decay=self.student_weight_decay,
            schedule=self.student_schedule,
            augmentation=self.augmentation,
            loss=self.student_loss,
        )

    def unkeyed(self) -> frozenset[str]:
        """Return fields that came later and stand at what holds without them, so that they leave older keys as they were."""
        return frozenset() if self.student_weight_decay else frozenset({"student_weight_decay"})

    def build(self, spec: Spec) -> nn.Module:
        """Return the network's architecture; parameters are drawn by ``bench.nn.networks.initial_parameters``."""
        return build_network(self.network or default_network(spec), spec)

    def presented_examples(self, images: int) -> int:
        """Return how many images a student of a finished set of ``images`` images is shown."""
        return self.student_steps * self.batch(images)
