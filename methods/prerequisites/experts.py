"""Expert trajectories: what networks become while they are trained on all training images (MTT, Cazenavette et al. 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from bench import PREREQUISITES, Need, Prerequisite, RealImages, Spec, TrainRecipe, Workshop
from bench.fields import named_in
from bench.files import regular, replacing
from bench.keys import digest
from bench.nn.augment import parse_strategy
from bench.nn.networks import Parameters, build_network, default_network, flops_per_image, initial_parameters
from bench.nn.spaces import SPACES, open_space, space_need
from bench.nn.student import Network
from bench.nn.training import StudentStreams, train_students
from bench.train_recipe import Rate


def read_snapshot(folder: Path, epoch: int, device: torch.device | None = None) -> Parameters:
    """Return what an expert was after so many epochs; 0 is where it started."""
    return load_file(regular(_file(folder, epoch)), device=str(device or "cpu"))


@PREREQUISITES.register("experts")
@dataclass(frozen=True, kw_only=True)
class Experts(Prerequisite):
    """One expert: a network that is trained by SGD without momentum, and what it was before and after every epoch.

    Another seed is another expert, so whoever needs fifty of them shares the first ten with whoever needs ten. An epoch shows every
    training image once, in an order of its own; the last batch may be smaller. One operation is drawn for every batch, and its
    parameters for every image (DSA).

    Written is ``epoch-<number>.safetensors``, all parameters by name, for 0 to ``epochs``; read them by ``read_snapshot``. Every
    epoch has random streams of its own and an optimizer without memory, so a build goes on from the last snapshot as if nothing
    had happened.

    Attributes:
        network: its name; empty is the data set's default.
        space: the pixel space it sees images in.
        augmentation: a strategy of ``bench.nn.augment``.
        epochs: how long it is trained.
        lr: learning rate.
        batch_size: images per step.
    """

    name: ClassVar[str] = "experts"

    network: Network = ""
    space: Annotated[str, named_in("pixel space", SPACES)] = "standard"
    augmentation: str = "none"
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 50
    lr: Rate = 0.01
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 256

    def needs(self, seed: int) -> tuple[Need, ...]:
        """Return the whitening; the plain space is fitted faster than it is read."""
        del seed
        return () if self.space == "standard" else (space_need(self.space),)

    def key(self, seed: int, data_hash: str) -> str:
        """Let another version of the space be another expert, also where the space is no prerequisite."""
        return digest([super().key(seed, data_hash), SPACES[self.space].version])

    def disk_bytes(self, spec: Spec) -> int:
        """Return the size of all snapshots."""
        numbers = sum(p.numel() for p in self._network(spec).parameters())
        return 4 * numbers * (self.epochs + 1)

    def flops(self, spec: Spec, images: int) -> float:
        """Count the arithmetic: a step costs about 2.9 forward passes of its images."""
        return 2.9 * flops_per_image(self._network(spec), spec) * images * self.epochs

    def _network(self, spec: Spec) -> nn.Module:
        return build_network(self.network or default_network(spec), spec)

    def build(self, workshop: Workshop) -> None:
        """Train epoch by epoch, from the last whole snapshot on.

        Raises:
            BenchError: the augmentation has an unknown operation.
        """
        spec, folder = workshop.spec, workshop.folder
        parse_strategy(self.augmentation)
        network = self._network(spec)
        real = RealImages.of(spec, workshop.train, open_space(self.space, workshop.train, workshop.find), workshop.device)
        steps = math.ceil(len(real) / self.batch_size)
        recipe = TrainRecipe("sgd", self.lr, steps, self.batch_size, augmentation=self.augmentation)
        done, parameters = _last_whole(folder, self.epochs, workshop.device)
        if parameters is None:
            parameters = initial_parameters(network, workshop.generator("network"), workshop.device)
            _save(parameters, _file(folder, 0))
        taken = done * steps

        def advance(count: int) -> None:
            nonlocal taken
            taken += count
            workshop.report(taken, self.epochs * steps)

        for epoch in range(done + 1, self.epochs + 1):
            streams = [StudentStreams(("expert", workshop.key, epoch))]
            trained = train_students(network, real, recipe, streams, [steps], sampling="epochs", on_steps=advance, start=[parameters])
            parameters = trained[steps][0]
            _save(parameters, _file(folder, epoch))


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:06d}.safetensors"


def _save(parameters: Parameters, file: Path) -> None:
    with replacing(file) as scratch:
        save_file({name: value.detach().float().cpu().contiguous() for name, value in parameters.items()}, scratch)


def _last_whole(folder: Path, epochs: int, device: torch.device) -> tuple[int, Parameters | None]:
    """Return the last epoch up to which all snapshots are whole, and what the expert was then; ``None`` before the first.

    What else an interrupted build left is removed.
    """
    done, parameters = -1, None
    for epoch in range(epochs + 1):
        try:
            parameters = read_snapshot(folder, epoch, device)
        except (OSError, SafetensorError, ValueError, RuntimeError):
            break
        done = epoch
    kept = {_file(folder, epoch).name for epoch in range(done + 1)}
    for left in folder.iterdir():
        if left.name not in kept and left.is_file():
            left.unlink()
    return max(done, 0), parameters
