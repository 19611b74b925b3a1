"""Features of all training images, from a small network that is trained on them: what coresets and PoCO look through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench import PREREQUISITES, BenchError, Prerequisite, Spec, TrainRecipe, Workshop
from bench.nn.networks import build_network
from bench.nn.real_images import RealImages
from bench.nn.spaces import fit_space
from bench.nn.students import StudentStreams, train_students

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

    network: str = ""
    steps: int = 200
    batch_size: int = 64
    lr: float = 1e-3
    images: int = 0

    def build(self, workshop: Workshop) -> None:
        """Train the network and write the features."""
        spec, train = workshop.spec, workshop.train
        network = build_network(self.network or _default_network(spec), spec)
        head = getattr(network, "head", None)
        if not isinstance(head, nn.Module):
            raise BenchError(f"features: network '{self.network}' has no last layer called head; choose another one")
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
            RealImages(some, spec.classes, space, workshop.device),
            recipe,
            [StudentStreams(("features", workshop.key))],
            [self.steps],
            on_steps=advance,
        )[self.steps][0]
        everything = RealImages(train, spec.classes, space, workshop.device)
        parts = [_before(network, head, parameters, everything.take(index).images) for index in torch.arange(len(train)).split(_AT_ONCE)]
        save_file({"features": torch.cat(parts)}, workshop.folder / "features.safetensors")


def _default_network(spec: Spec) -> str:
    return "convnet-d2-w32" if min(spec.height, spec.width) < 16 else "convnet-d3-w32"


@torch.no_grad()
def _before(network: nn.Module, head: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Return (n, d) float32 inputs of the layer ``head``, on the CPU."""
    found: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    try:
        torch.func.functional_call(network, dict(parameters), (images,))
    finally:
        hook.remove()
    return found[0].float().cpu().contiguous()
