"""Prerequisites that can be told to misbehave, and a data set of two images per class."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from bench import Dataset, Spec, Split
from bench.prerequisite import Need, Prerequisite, Workshop
from bench.registry import PREREQUISITES

SPEC = Spec("toy", classes=2, shape=(1, 2, 2), class_names=("dark", "bright"))


def toy_dataset(level: int = 200, files: Iterable[Path] = ()) -> Dataset:
    images = torch.tensor([0, level, 0, level], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 2, 2).contiguous()
    train = Split(images, torch.tensor([0, 1, 0, 1]))
    return Dataset(SPEC, train, lambda: train, files=tuple(files))


@PREREQUISITES.register("toy_steps")
@dataclass(frozen=True)
class ToySteps(Prerequisite):
    """Writes one file per step and goes on after those that are there; ``ledger`` gets a line for every step taken."""

    name: ClassVar[str] = "toy_steps"

    ledger: str = ""
    steps: int = 3
    scale: float = 1.0
    pause: float = 0.0
    sizes: tuple[int, ...] = (1, 2)
    opens: str = ""

    def build(self, workshop: Workshop) -> None:
        if self.opens:
            Path(self.opens).read_bytes()
        for step in range(self.steps):
            file = workshop.folder / "steps" / f"{step}.txt"
            if file.is_file():
                continue
            time.sleep(self.pause)
            if (workshop.folder.parent / "break").is_file() and step == 2:
                raise RuntimeError("the power went out")
            with Path(self.ledger).open("a") as ledger:
                ledger.write(f"{workshop.seed} {step}\n")
            file.parent.mkdir(exist_ok=True)
            number = torch.rand((), generator=workshop.generator("step", step)).item()
            file.write_text(f"{number * self.scale}\n")
            workshop.report(step + 1, self.steps, number=number)


@PREREQUISITES.register("toy_sum")
@dataclass(frozen=True)
class ToySum(Prerequisite):
    """Adds up the numbers of a ``toy_steps`` of the same seed; ``peeks`` at one that it does not announce."""

    name: ClassVar[str] = "toy_sum"

    ledger: str = ""
    peeks: bool = False

    def needs(self, seed: int) -> tuple[Need, ...]:
        return (Need("toy_steps", {"ledger": self.ledger}, seed),)

    def build(self, workshop: Workshop) -> None:
        folder = workshop.find(Need("toy_steps", {"ledger": self.ledger}, workshop.seed + self.peeks))
        total = sum(float(file.read_text()) for file in sorted(folder.rglob("*.txt")))
        (workshop.folder / "sum.txt").write_text(str(total))


@PREREQUISITES.register("toy_nothing")
@dataclass(frozen=True)
class ToyNothing(Prerequisite):
    """Writes no file."""

    name: ClassVar[str] = "toy_nothing"

    def build(self, workshop: Workshop) -> None:
        """Do nothing."""
