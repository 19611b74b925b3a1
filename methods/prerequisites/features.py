"""Features of all training images, from a small network that is trained on them: what coresets and PoCO look through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from safetensors.torch import save_file

from bench import PREREQUISITES, Prerequisite, RealImages, Spec, TrainRecipe, Workshop
from bench.nn.networks import build_network, features
from bench.nn.spaces import fit_space
from bench.nn.student import Network
from bench.nn.training import StudentStreams, train_students
from bench.train_recipe import Rate, Steps

_AT_ONCE = 512  # images whose features are computed together


@PREREQUISITES.register("features")
@dataclass(frozen=True, kw_only=True)
class Features(Prerequisite):
    """A network trained for a few steps; the inputs of its last layer are the features.

    Written is ``features.safetensors`` with ``features``, (n, d) float32, in the order of the training images; read it
    by ``bench.selection.read_features``. Another seed is another network.

    Attributes:
        network: its name; empty takes a ConvNet of width 32, two blocks deep below 16 pixels and three above.
        steps: training steps, by Adam.
        batch_size: images per step.
        lr: learning rate.
        images: how many training images, evenly spaced, it is trained on; 0 takes all.
    """

    name: ClassVar[str] = "features"

    network: Network = ""
    steps: Steps = 200
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    lr: Rate = 1e-3
    images: Annotated[int, Field(ge=0)] = 0

    def build(self, workshop: Workshop) -> None:
        """Train the network and write the features."""
        spec, train = workshop.spec, workshop.train
        network = build_network(self.network or _default_network(spec), spec)
        space = fit_space("standard", train)
        count = min(self.images or len(train), len(train))
        some = train if count == len(train) else train.take(torch.linspace(0, len(train) - 1, count).long())
        recipe = TrainRecipe(optimizer="adam", lr=self.lr, steps=self.steps, batch_size=min(self.batch_size, count))
        done = [0]

        def advance(steps: int) -> None:
            done[0] += steps
            workshop.report(done[0], self.steps)

        parameters = train_students(
            network,
            RealImages.of(spec, some, space, workshop.device),
            recipe,
            [StudentStreams(("features", workshop.key))],
            [self.steps],
            on_steps=advance,
        )[self.steps][0]
        everything = RealImages.of(spec, train, space, workshop.device)
        with torch.no_grad():
            parts = [features(network, parameters, everything.take(i).images) for i in torch.arange(len(train)).split(_AT_ONCE)]
        save_file({"features": torch.cat(parts).float().cpu().contiguous()}, workshop.folder / "features.safetensors")


def _default_network(spec: Spec) -> str:
    return "convnet-d2-w32" if min(spec.height, spec.width) < 16 else "convnet-d3-w32"
