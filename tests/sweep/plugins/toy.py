"""A data set of two classes and a method that can be told to misbehave, for tests of the sweep."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from bench import (
    DATASETS,
    METHODS,
    PARAMETERIZATIONS,
    Batch,
    DataOptions,
    Dataset,
    DistilledSet,
    Method,
    Parameterization,
    PlanContext,
    Refusal,
    Resolution,
    Spec,
    Split,
    Task,
    TrainRecipe,
)
from bench.data import about
from bench.seeding import stream

SPEC = Spec("toy", classes=2, shape=(1, 8, 8), class_names=("top", "bottom"), mirror=True)


def _split(name: str, count: int) -> Split:
    """Images whose upper or lower half is bright."""
    images = torch.randint(0, 80, (count, 1, 8, 8), generator=stream("toy", name))
    labels = torch.arange(count) % 2
    images[labels == 0, :, :4] += 100
    images[labels == 1, :, 4:] += 100
    return Split(images.to(torch.uint8), labels)


@DATASETS.register("toy")
@about(SPEC, reference="made up here")
def toy(options: DataOptions) -> Dataset:
    """Forty bright halves."""
    del options
    return Dataset(SPEC, _split("train", 40), lambda: _split("test", 20), val=_split("val", 10))


@PARAMETERIZATIONS.register("toy_images")
class ToyImages(Parameterization):
    """One image per class."""

    name: ClassVar[str] = "toy_images"
    roles: ClassVar[Mapping[str, Any]] = {"images": "image"}

    def __init__(self, count: int) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.zeros(count, 1, 8, 8))

    def config(self) -> dict[str, Any]:
        return {"count": len(self.images)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> "ToyImages":
        del spec
        return cls(int(config["count"]))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        return 1

    def decode(self, index: torch.Tensor | None = None) -> Batch:
        labels = torch.eye(2)[torch.arange(len(self)) % 2]
        return Batch(self.images, labels) if index is None else Batch(self.images[index], labels[index])

    @torch.no_grad()
    def write(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        del labels
        self.images.copy_(images)


@METHODS.register("toy_mean")
@dataclass(frozen=True, kw_only=True)
class ToyMean(Method):
    """Class means of some images, or whatever ``behave`` says."""

    name: ClassVar[str] = "toy_mean"
    reference: ClassVar[str] = "made up here"
    reference_forms: ClassVar[tuple[Mapping[str, Any], ...]] = ({"take": 1},)

    take: int = 5
    steps: int = 4
    pause: float = 0.0
    behave: str = "ok"
    note: str = ""  # path of a file in which every distillation leaves a line

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        if context.budget.images < 2:
            return Refusal("it keeps two whole images")
        return Resolution(self, outer_steps=self.steps)

    def distill(self, task: Task) -> DistilledSet:
        if self.note:
            with Path(self.note).open("a") as file:
                file.write(f"{task.seed} {os.getpid()}\n")
        for step in range(task.steps(self.steps)):
            time.sleep(self.pause)
            task.report(step + 1, task.steps(self.steps), loss=1.0 / (step + 1))
        getattr(self, f"_{self.behave}", lambda: None)()
        stored = ToyImages(20 if self.behave == "over" else 2)
        generator = task.generator("pick")
        means = []
        for label in range(2):
            members = task.train.of_class(label)
            pick = members[torch.randperm(len(members), generator=generator)[: self.take]]
            means.append(task.train.unit_images(pick).mean(0))
        stored.write(torch.stack(means).repeat(len(stored) // 2, 1, 1, 1), torch.arange(len(stored)) % 2)
        if self.behave == "nan":
            stored.images.data[0, 0, 0, 0] = float("nan")
        lr = float("nan") if self.behave == "nan_recipe" else 0.01
        return DistilledSet(task.spec, stored, TrainRecipe(lr=lr, steps=8), coordinates="rgb")

    def _raise(self) -> None:
        raise RuntimeError("this method always breaks")

    def _exit(self) -> None:
        os._exit(137)

    def _sysexit(self) -> None:
        sys.exit(0)

    def _memory(self) -> None:
        raise MemoryError

    def _allocate(self) -> None:
        torch.empty(2**46, dtype=torch.uint8)

    def _first_time(self) -> bool:
        """Tell whether this is the first distillation, as the note tells."""
        return len(Path(self.note).read_text().splitlines()) == 1

    def _sleep_once(self) -> None:
        if self._first_time():
            self._sleep()

    def _disk_full(self) -> None:
        """Have every write into a file fail from now on."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def _killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _killed_once(self) -> None:
        if self._first_time():
            self._killed()

    def _segfault(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def _server_dies(self) -> None:
        if self._first_time():
            os.kill(os.getppid(), signal.SIGKILL)

    def _server_stops(self) -> None:
        if self._first_time():
            os.kill(os.getppid(), signal.SIGSTOP)

    def _dies_with_server(self) -> None:
        self._server_dies()
        self._killed_once()

    def _stops_server_and_dies(self) -> None:
        self._server_stops()
        self._killed_once()

    def _stops_server_and_sleeps(self) -> None:
        self._server_stops()
        self._sleep_once()

    def _always_dies_with_server(self) -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        self._killed()

    def _sleep(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if self.note:
            with Path(self.note).open("a") as file:
                file.write(f"child {child.pid}\n")
        time.sleep(600)


@METHODS.register("toy_walk")
@dataclass(frozen=True, kw_only=True)
class ToyWalk(Method):
    """Adds a random image per step and can go on from a checkpoint; breaks at step ``breaks_at`` of a fresh start."""

    name: ClassVar[str] = "toy_walk"
    reference: ClassVar[str] = "made up here"

    breaks_at: int = 0
    pause: float = 0.0

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        del context
        return Resolution(self, outer_steps=6)

    def distill(self, task: Task) -> DistilledSet:
        state = task.resume_from or {"images": torch.zeros(2, 1, 8, 8), "step": torch.tensor(0)}
        images, first = state["images"], int(state["step"])
        for step in range(first, 6):
            if not first and step == self.breaks_at - 1:
                raise RuntimeError("the power went out")
            time.sleep(self.pause)
            images = images + torch.rand(2, 1, 8, 8, generator=task.generator("step", step))
            if task.score is not None:
                task.validate(self._set(task, images))
            task.report(step + 1, 6, loss=float(6 - step))
            task.offer(step + 1, 6, partial(self._set, task, images), "steady")
            task.checkpoint(partial(dict, images=images, step=torch.tensor(step + 1)))
        return self._set(task, images)

    def _set(self, task: Task, images: torch.Tensor) -> DistilledSet:
        stored = ToyImages(2)
        stored.write(images / 6, torch.arange(2))
        return DistilledSet(task.spec, stored, TrainRecipe(lr=0.01, steps=2), coordinates="rgb")
