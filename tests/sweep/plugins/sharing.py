"""A method whose cells share class means that are built once, and one that asks for what it never announced."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file

from bench import (
    METHODS,
    PARAMETERIZATIONS,
    PREREQUISITES,
    DistilledSet,
    Method,
    Need,
    PlanContext,
    Prerequisite,
    Resolution,
    Task,
    TrainRecipe,
    Workshop,
)


@PREREQUISITES.register("toy_means")
@dataclass(frozen=True)
class ToyMeans(Prerequisite):
    """Class means; ``ledger`` gets a line for every build."""

    name: ClassVar[str] = "toy_means"

    ledger: str = ""
    breaks: bool = False

    def build(self, workshop: Workshop) -> None:
        with Path(self.ledger).open("a") as ledger:
            ledger.write(f"{workshop.seed}\n")
        if self.breaks:
            raise RuntimeError("no means today")
        members = [workshop.train.unit_images(workshop.train.of_class(label)).mean(0) for label in range(workshop.spec.classes)]
        workshop.report(1, 1)
        save_file({"means": torch.stack(members)}, workshop.folder / "means.safetensors")


@METHODS.register("toy_sharing")
@dataclass(frozen=True, kw_only=True)
class ToySharing(Method):
    """Keeps the shared means; even and odd seeds ask for two of them."""

    name: ClassVar[str] = "toy_sharing"
    reference: ClassVar[str] = "made up here"

    ledger: str = ""
    breaks: bool = False
    looks: bool = False  # whether planning opens it, too
    silent: bool = False  # whether it is announced
    forges: bool = False  # whether it writes into what others read

    def _need(self, seed: int) -> Need:
        return Need("toy_means", {"ledger": self.ledger, "breaks": self.breaks}, seed % 2)

    def plan(self, context: PlanContext) -> Resolution:
        notes = ()
        if self.looks:
            notes = (f"planning saw {len(load_file(context.find(self._need(context.seed)) / 'means.safetensors')['means'])} means",)
        return Resolution(self, notes=notes, needs=() if self.silent else (self._need(context.seed),))

    def distill(self, task: Task) -> DistilledSet:
        folder = task.prerequisite("toy_means", task.seed % 2, ledger=self.ledger, breaks=self.breaks)
        if self.forges:
            (folder / "means.safetensors").chmod(0o644)
        stored = PARAMETERIZATIONS["toy_images"](2)
        stored.write(load_file(folder / "means.safetensors")["means"], torch.arange(2))
        return DistilledSet(task.spec, stored, TrainRecipe(lr=0.01, steps=2), coordinates="rgb")
