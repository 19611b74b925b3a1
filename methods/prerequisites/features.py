"""Features of all training images, from a small network that is trained on them: what coresets and PoCO look through.

The network itself is kept too, as a teacher of soft labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench import PREREQUISITES, Prerequisite, RealImages, Spec, TrainRecipe, Workshop
from bench.keys import canonical_json
from bench.nn.networks import Parameters, build_network, features, forward
from bench.nn.spaces import fit_space
from bench.nn.student import Network
from bench.nn.training import StudentStreams, train_students
from bench.train_recipe import Rate, Steps

_AT_ONCE = 512  # images whose features are computed together
_SPACE = "standard"
_FEATURES, _NETWORK = "features.safetensors", "network.safetensors"
_ABOUT = "about"  # one entry, since safetensors writes several in no fixed order


@dataclass(frozen=True)
class Teacher:
    """A trained feature network.

    Attributes:
        network: its name.
        space: name of the pixel space in which it sees images.
        parameters: its trained parameters.
    """

    network: str
    space: str
    parameters: Parameters

    def probabilities(self, images: Tensor, spec: Spec) -> Tensor:
        """Return the (n, C) probabilities, softmax at temperature 1, of (n, c, h, w) images in its space."""
        network = build_network(self.network, spec)
        with torch.no_grad():
            return torch.cat([forward(network, self.parameters, part).softmax(1) for part in images.split(_AT_ONCE)])


def read_teacher(folder: Path) -> Teacher:
    """Read the network of a built ``features`` prerequisite."""
    with safe_open(folder / _NETWORK, framework="pt") as file:
        about = json.loads(file.metadata()[_ABOUT])
        return Teacher(about["network"], about["space"], {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


@PREREQUISITES.register("features")
@dataclass(frozen=True, kw_only=True)
class Features(Prerequisite):
    """A network trained for a few steps; the inputs of its last layer are the features.

    Written is ``features.safetensors`` with ``features``, (n, d) float32, in the order of the training images; read it
    by ``bench.selection.read_features``. Beside it stands ``network.safetensors``, the network with its name and its pixel
    space; read it by ``read_teacher``. Another seed is another network.

    Attributes:
        network: its name; empty takes a ConvNet of width 32, two blocks deep below 16 pixels and three above.
        steps: training steps, by Adam.
        batch_size: images per step.
        lr: learning rate.
        images: how many training images, evenly spaced, it is trained on; 0 takes all.
    """

    name: ClassVar[str] = "features"
    writes: ClassVar[tuple[str, ...]] = (_FEATURES, _NETWORK)

    network: Network = ""
    steps: Steps = 200
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    lr: Rate = 1e-3
    images: Annotated[int, Field(ge=0)] = 0

    def build(self, workshop: Workshop) -> None:
        """Train the network, and write it and the features."""
        spec, train = workshop.spec, workshop.train
        name = self.network or _default_network(spec)
        network = build_network(name, spec)
        space = fit_space(_SPACE, train)
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
        save_file({"features": torch.cat(parts).float().cpu().contiguous()}, workshop.folder / _FEATURES)
        kept = {key: value.detach().float().cpu().contiguous() for key, value in parameters.items()}
        save_file(kept, workshop.folder / _NETWORK, metadata={_ABOUT: canonical_json({"network": name, "space": _SPACE})})


def _default_network(spec: Spec) -> str:
    return "convnet-d2-w32" if min(spec.height, spec.width) < 16 else "convnet-d3-w32"
