"""What is measured: one outer step of each objective, and the training of judged students, on random data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench import Batch, Spec, TrainRecipe
from bench.decoders.poster import Poster
from bench.decoders.poster_layout import PosterLayout
from bench.methods._unroll import EngineName, ExpertDistance, InnerAdam, InnerSGD, RealBatchLoss, WindowGradient, choose_engine
from bench.nn import training
from bench.nn.augment import draw, join
from bench.nn.networks import build_network, flops_per_image, initial_parameters
from bench.nn.precision import Precision, rounding
from bench.seeding import stream

from .matching import Matching

CPU = torch.device("cpu")
CIFAR = Spec("cifar shape", 10, (3, 32, 32), tuple(map(str, range(10))))
DIGITS = Spec("digits shape", 10, (1, 8, 8), tuple(map(str, range(10))))
POSTER = PosterLayout((153, 60), (32, 32), (16, 6), (5, 2))


@dataclass(frozen=True)
class Unroll:
    """One outer step.

    Attributes:
        spec: shape of the images.
        network: the student.
        images: distilled images per inner step; with ``poster`` its patches.
        window: differentiated steps.
        prefix: steps before.
        real: real images in the outer loss; 0 is the distance to an expert, trained by SGD with momentum.
        poster: read the images as overlapping patches of one poster, rotated, and carry the gradient into it.
        networks: students per outer step, whose gradients are averaged.
        dtype: float32 but for the check.
    """

    spec: Spec
    network: str
    images: int
    window: int
    prefix: int
    real: int
    poster: bool = False
    networks: int = 1
    dtype: torch.dtype = torch.float32

    def gflop(self) -> float:
        """Return the useful work with saved activations: 2.9 forward passes per plain step and 8.8 per window step."""
        each = flops_per_image(build_network(self.network, self.spec), self.spec) / 1e9
        return each * self.networks * (self.images * (2.93 * self.prefix + 8.8 * self.window) + 2.93 * self.real)

    def small(self) -> Unroll:
        """Return a case of the same shape that is quick in float64."""
        return replace(self, images=min(self.images, 4), window=min(self.window, 3), prefix=min(self.prefix, 2), real=min(self.real, 9))

    def prepare(
        self, engine: EngineName, tape_budget: int | None = None, device: torch.device = CPU, precision: Precision = "float32"
    ) -> Callable[[], list[Tensor]]:
        """Draw the data and return the outer step: gradients of images and labels, or of the poster."""
        network, generator = build_network(self.network, self.spec), stream("benchmark", self.network)

        def drawn(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(device, self.dtype)

        students = [
            {key: p.to(device, self.dtype) for key, p in initial_parameters(network, generator).items()} for _ in range(self.networks)
        ]
        made = choose_engine(network, self.spec.shape, device, self.dtype, engine, tape_budget, precision)
        inner = InnerAdam(1e-3) if self.real else InnerSGD(0.01, momentum=0.5)
        outer = (
            RealBatchLoss(drawn(self.real, *self.spec.shape), drawn(self.real, 10).softmax(1)) if self.real else self._expert(students[0])
        )
        make = self._patches(drawn) if self.poster else self._images(drawn)

        def step() -> list[Tensor]:
            leaf, batches = make()
            state = made.start(students, inner)
            with rounding(precision):
                for batch in (batches * (1 + self.prefix // self.window))[: self.prefix]:
                    state = made.advance(state, batch, inner)
                found: WindowGradient = made.window_gradient(state, batches, inner, outer)
            if leaf is None:
                return [*found.images, *(g for g in found.labels if g is not None), torch.tensor([found.lr], device=device)]
            return list(torch.autograd.grad([b.images for b in batches], leaf, found.images))

        return step

    def _expert(self, parameters: dict[str, Tensor]) -> ExpertDistance:
        start = torch.cat([p.flatten() for p in parameters.values()])
        return ExpertDistance(start + 0.01 * torch.randn(start.shape, generator=stream("expert")).to(start), start)

    def _images(self, drawn: Callable[..., Tensor]) -> Callable[[], tuple[None, list[Batch]]]:
        images, labels = drawn(self.images, *self.spec.shape), drawn(self.images, 10).softmax(1).requires_grad_()
        return lambda: (None, [Batch(images, labels)] * self.window)

    def _patches(self, drawn: Callable[..., Tensor]) -> Callable[[], tuple[Tensor, list[Batch]]]:
        start = drawn(self.spec.channels, *POSTER.size)
        poster = Poster(self.spec, POSTER, range(10)).to(start)
        with torch.no_grad():
            poster.poster.copy_(start)
        some = torch.arange(self.images, device=start.device)
        parts = [draw("rotate", self.images, self.spec.shape, stream("benchmark rotation", k)) for k in range(self.window)]
        turned = join(parts, self.images, self.spec.shape)

        def make() -> tuple[Tensor, list[Batch]]:
            batch = poster.decode(some)
            images = turned(batch.images.expand(self.window, *batch.images.shape).flatten(0, 1)).unflatten(0, (self.window, self.images))
            return poster.poster, [Batch(x, batch.labels) for x in images.unbind()]

        return make


@dataclass(frozen=True)
class Judge:
    """Training the students of a judge; the other side trains them one after another by autograd.

    Attributes:
        students: how many.
        images: size of the distilled set.
        steps: training steps.
    """

    students: int = 8
    images: int = 10
    steps: int = 100

    def gflop(self) -> float:
        """Return the useful work."""
        each = flops_per_image(build_network("convnet-d2-w32", DIGITS), DIGITS) / 1e9
        return 2.93 * each * self.images * self.steps * self.students

    def small(self) -> Judge:
        """Return a quick case."""
        return replace(self, students=2, steps=5)

    def prepare(self, engine: str, device: torch.device = CPU) -> Callable[[], list[Tensor]]:
        """Return the training; ``plain`` switches the kernels off for its duration."""
        generator = stream("benchmark judge")
        images, labels = torch.randn(self.images, 1, 8, 8, generator=generator), torch.rand(self.images, 10, generator=generator)
        data = Batch(images.to(device), labels.to(device))
        network, recipe = build_network("convnet-d2-w32", DIGITS), TrainRecipe("adam", lr=1e-3, steps=self.steps)
        streams = [training.StudentStreams(("benchmark", k)) for k in range(self.students)]

        def one_after_another() -> list[Tensor]:
            kept, training.compiled_net = training.compiled_net, lambda *_: None
            try:
                return [training.train_students(network, data, recipe, [s], [self.steps])[self.steps][0]["head.weight"] for s in streams]
            finally:
                training.compiled_net = kept

        def together() -> list[Tensor]:
            return [p["head.weight"] for p in training.train_students(network, data, recipe, streams, [self.steps])[self.steps]]

        return one_after_another if engine == "plain" else together


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        work: what is run.
        pairs: how often each side is timed; 0 only runs our side once for its memory.
        must: smallest ratio to reach.
        goal: the ratio to aim for.
        memory: largest share of the other side's memory, where one is asked for.
        smoke: part of the quick suite.
    """

    work: Unroll | Judge | Matching
    pairs: int
    must: float
    goal: float
    memory: float | None = None
    smoke: bool = False


CASES = {
    "digits": Case(Unroll(DIGITS, "convnet-d2-w32", 10, 20, 20, 256), 15, 1.8, 3.0, 1 / 5, smoke=True),
    "digits_96": Case(Unroll(DIGITS, "convnet-d2-w32", 96, 10, 20, 256), 9, 1.8, 3.0, 1 / 5),
    "digits_networks": Case(Unroll(DIGITS, "convnet-d2-w32", 10, 20, 20, 256, networks=8), 9, 1.8, 3.0, 1 / 5),
    "judge": Case(Judge(), 9, 2.7, 4.0, smoke=True),
    "cifar": Case(Unroll(CIFAR, "convnet-d3-w128", 10, 20, 20, 256), 5, 1.15, 1.4, 1 / 6),
    "cifar, saved": Case(Unroll(CIFAR, "convnet-d3-w128", 10, 20, 20, 256), 3, 1.15, 1.4, 1 / 6),
    "cifar, recomputed": Case(Unroll(CIFAR, "convnet-d3-w128", 10, 20, 20, 256), 3, 1.15, 1.4, 1 / 9),
    "poster_96": Case(Unroll(CIFAR, "convnet-d3-w128", 96, 5, 0, 256, poster=True), 5, 1.2, 1.5, 1 / 12),
    "mtt": Case(Unroll(CIFAR, "convnet-d3-w128", 10, 50, 0, 0), 5, 1.1, 1.3, 1 / 8),
    "dc": Case(Matching(CIFAR, "convnet-d3-w128", "dc"), 3, 1.0, 1.3),
    "dsa_digits": Case(Matching(DIGITS, "convnet-d2-w32", "dc", "crop_cutout_scale_rotate"), 9, 1.5, 2.0, smoke=True),
    "dm": Case(Matching(CIFAR, "convnet-d3-w128", "dm", "color_crop_cutout_flip_scale_rotate"), 3, 1.0, 1.3),
    "dm_digits": Case(Matching(DIGITS, "convnet-d2-w32", "dm", "crop_cutout_scale_rotate"), 9, 1.5, 2.0, smoke=True),
    "podd_recipe": Case(Unroll(CIFAR, "convnet-d3-w128", 96, 60, 70, 5000, poster=True), 0, 0.0, 0.0),
}
