"""Back-propagation through a random window of a student's training: RaT-BPTT (Feng et al. 2024, arXiv 2311.07025).

One outer step: draw a start N, train a fresh student N steps on the distilled set without a graph, then ``window``
steps with one, and descend the cross-entropy of real images with respect to the distilled set. It sees the set through
``parameterization.decode`` alone, so images, posters or anything else can be optimised by it.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from bench import Batch, Method, Parameterization, Space, Spec, Task, TrainRecipe
from bench.nn.augment import Augmentation, draw, join
from bench.nn.networks import build_network, default_network, flops_per_image, initial_parameters
from bench.nn.precision import Precision, rounding
from bench.nn.spaces import default_space

from .._outer_loop import Clip, NormClip, OuterAdam
from .._unroll import EngineName, InnerAdam, RealBatchLoss, choose_engine, engine_facts

Curriculum = Literal["random", "fixed", "forward", "length"]

_TOGETHER = 1 << 20  # numbers of inner images that are decoded and augmented in one call


@dataclass(frozen=True, kw_only=True)
class TruncatedBPTT(Method, ABC):
    """The hyper-parameters that RaT-BPTT and PoDD share; names and defaults are those of the CIFAR-10 commands.

    Attributes:
        outer_iterations: outer steps; the authors count epochs over the real data instead (100,000 steps for PoDD).
        window: inner steps that are differentiated.
        totwindow: largest number of inner steps in all.
        minwindow: smallest number of inner steps before the window.
        curriculum: ``random`` (RaT: start uniform in [minwindow, totwindow - window], drawn every outer step),
            ``fixed`` (always totwindow - window), ``forward`` (the start moves evenly from minwindow to the end while
            distilling), ``length`` (start 0, window length uniform in [window, totwindow]).
        inner_lr: Adam's learning rate of the student, also when it is judged.
        outer_lr: Adam's learning rate of the stored images.
        label_lr: Adam's learning rate of learned labels.
        outer_schedule: ``constant`` as in the papers, or ``cosine`` to a hundredth (for short runs).
        average: share of the run at whose end the outer iterates are averaged; 0 returns the last one, as the papers.
        epsilon: Adam's convention inside, see ``InnerAdam``.
        clip: gradient clipping by a running norm s: ``corrected`` (threshold 2s from before, s updated with the clipped
            norm, non-finite steps skipped), ``official`` (s updated first with the raw norm) or ``off``.
        real_batch: real images per outer step.
        inner_batch: distilled images per inner step; 0 takes all.
        augmentation: strategy for distilled and real batches; ``auto`` is flip_rotate, or rotate where a flip would
            change the class.
        space: pixel space; ``auto`` is zca_kip on colour images and standard on grey ones.
        network: student network; empty is the data set's default.
        student_steps: training steps of a judged student.
        networks_per_step: student networks per outer step, each freshly initialised, whose gradients are averaged.
        engine: how the unroll is differentiated; ``auto`` follows the fixed rule of ``choose_engine``. All engines are
            exact, so a result differs by rounding alone.
        precision: how inputs of the unroll's convolutions and matrix products are rounded: ``float32`` (not at all),
            ``tf32`` (a GPU's ten-bit mantissa) or ``bf16``. Students are judged in float32 whatever it is.
    """

    unkeyed: ClassVar[frozenset[str]] = frozenset({"engine", "precision"})

    outer_iterations: int = 100_000
    window: int = 60
    totwindow: int = 200
    minwindow: int = 0
    curriculum: Curriculum = "random"
    inner_lr: float = 1e-3
    outer_lr: float = 1e-3
    label_lr: float = 1e-3
    outer_schedule: Literal["constant", "cosine"] = "constant"
    average: float = 0.0
    epsilon: Literal["torch", "higher"] = "torch"
    clip: Clip = "corrected"
    real_batch: int = 5000
    inner_batch: int = 0
    augmentation: str = "auto"
    space: str = "auto"
    network: str = ""
    student_steps: int = 1000
    networks_per_step: int = 1
    engine: EngineName = "auto"
    precision: Precision = "float32"

    def outer_steps(self) -> int:
        """Return the outer steps of the full recipe."""
        return self.outer_iterations

    def settle(self, spec: Spec) -> Self:
        """Replace ``auto`` and empty choices by what they stand for on a data set."""
        return replace(
            self,
            augmentation=("flip_rotate" if spec.mirror else "rotate") if self.augmentation == "auto" else self.augmentation,
            space=default_space(spec) if self.space == "auto" else self.space,
            network=self.network or default_network(spec),
        )

    def inconsistency(self) -> str | None:
        """Return a sentence if the windows contradict each other or there is no network."""
        if self.networks_per_step < 1:
            return f"networks_per_step must be at least 1, found {self.networks_per_step}"
        if self.window < 1 or self.minwindow < 0 or self.window + self.minwindow > self.totwindow:
            return f"window {self.window} and minwindow {self.minwindow} do not fit into totwindow {self.totwindow}"
        return None

    def student_recipe(self, images: int) -> TrainRecipe:
        """Return how a student is trained on the finished set of ``images`` images: exactly as inside the loop."""
        batch = self.inner_batch if 0 < self.inner_batch < images else 0
        return TrainRecipe(optimizer="adam", lr=self.inner_lr, steps=self.student_steps, batch_size=batch, augmentation=self.augmentation)

    def loop_flops(self, spec: Spec, images: int) -> float:
        """Estimate the floating-point operations of the full recipe for ``images`` images per inner step.

        A plain step costs about 2.9 forward passes, a differentiated one 8.8, a real image 2.9.
        """
        forward_pass = flops_per_image(build_network(self.settle(spec).network, spec), spec)
        before = (self.totwindow - self.window + self.minwindow) / 2
        return (
            self.outer_iterations
            * self.networks_per_step
            * forward_pass
            * (images * (2.9 * before + 8.8 * self.window) + 2.9 * self.real_batch)
        )


class TruncatedBPTTLoop:
    """The outer loop on one parameterization; resumable at every outer step."""

    def __init__(self, method: TruncatedBPTT, task: Task, parameterization: Parameterization) -> None:
        """Put everything in place; ``method`` must be settled (no ``auto`` left)."""
        self.method, self.task = method, task
        self.stored = parameterization.to(task.device)
        self.space: Space = task.space(method.space)
        self.real = self.space.transform(task.train.unit_images()).to(task.device)
        self.real_labels = torch.nn.functional.one_hot(task.train.labels, task.spec.classes).to(self.real)
        self.network: nn.Module = build_network(method.network, task.spec)
        self.inner = InnerAdam(method.inner_lr, method.epsilon)
        self.engine = choose_engine(
            self.network,
            task.spec.shape,
            task.device,
            engine=method.engine,
            precision=method.precision,
            work=method.loop_flops(task.spec, self._inner_count()) * task.effort,
        )
        self.clip, self.outer, self.done = NormClip(method.clip), OuterAdam(), 0
        self.total = task.steps(method.outer_iterations)
        self.average: dict[str, Tensor] = {}
        self.streams = {
            name: task.generator(name)
            for name in ("start", "network", "inner batch", "inner augmentation", "real batch", "real augmentation")
        }

    def run(self) -> None:
        """Take all outer steps; afterwards the parameterization holds the distilled set."""
        self._resume()
        while self.done < self.total:
            with rounding(self.method.precision):
                loss = self._outer_step()
            self.done += 1
            self._accumulate_average()
            self.task.report(self.done, self.total, loss=loss)
            self.task.checkpoint(self._state())
        if self.average:
            count = float(self.average["count"])
            with torch.no_grad():
                for key, tensor in self._trained().items():
                    tensor.copy_(self.average[key] / count)
        self.task.note(
            precision=self.method.precision, **engine_facts(self.engine, self.method.engine, self.task.device, self.method.precision)
        )

    def _outer_step(self) -> float:
        prefix, window = self._draw_window()
        count, device = self.method.networks_per_step, self.task.device
        drawn = [initial_parameters(self.network, self.streams["network"], device) for _ in range(count)]
        state = self.engine.start(drawn, self.inner)
        for batch in self._inner_batches(prefix, attached=False):  # these give the stored numbers no gradient
            state = self.engine.advance(state, batch, self.inner)
        batches, outer = list(self._inner_batches(window, attached=True)), self._outer_loss()
        found = self.engine.window_gradient(state, batches, self.inner, outer)
        self._descend(batches, found.images, found.labels)
        return found.loss

    def _draw_window(self) -> tuple[int, int]:
        """Return the steps before the window and the window's length for this outer step."""
        method, latest = self.method, self.method.totwindow - self.method.window
        if method.curriculum == "random":
            return int(torch.randint(method.minwindow, latest + 1, (1,), generator=self.streams["start"])), method.window
        if method.curriculum == "fixed":
            return latest, method.window
        if method.curriculum == "forward":
            return method.minwindow + round((latest - method.minwindow) * self.done / max(1, self.total - 1)), method.window
        return 0, int(torch.randint(method.window, method.totwindow + 1, (1,), generator=self.streams["start"]))

    def _inner_batches(self, steps: int, attached: bool) -> Iterator[Batch]:
        """Decode and augment inner minibatches, ``attached`` to the stored tensors or not.

        Many steps at once, as one call per operation costs less than one per step: all if attached, else as many as fit
        a few megabytes.
        """
        count = self._inner_count()
        most = steps if attached else max(1, _TOGETHER // (count * math.prod(self.task.spec.shape)))
        for start in range(0, steps, max(1, most)):
            with torch.set_grad_enabled(attached):
                images, labels = self._augmented(min(most, steps - start), count)
            yield from map(Batch, images.unbind(), labels.unbind())

    def _inner_count(self) -> int:
        """Return how many distilled images an inner step takes."""
        size, stored = self.method.inner_batch, len(self.stored)
        return size if 0 < size < stored else stored

    def _augmented(self, steps: int, count: int) -> tuple[Tensor, Tensor]:
        """Return images (steps, count, c, h, w) and labels (steps, count, k) of so many inner steps."""
        shape, stream = self.task.spec.shape, self.streams["inner augmentation"]
        images, labels = self._decoded(steps, count)
        augmented = join([draw(self.method.augmentation, count, shape, stream) for _ in range(steps)], count, shape)
        if augmented != Augmentation():
            images = augmented(images.flatten(0, 1)).unflatten(0, (steps, count))
        return images, labels

    def _decoded(self, steps: int, count: int) -> tuple[Tensor, Tensor]:
        """Return images (steps, count, c, h, w) and labels (steps, count, k) before augmentation."""
        if count == len(self.stored):
            batch = self.stored.decode(None)
            return batch.images.expand(steps, *batch.images.shape), batch.labels.expand(steps, *batch.labels.shape)
        index = torch.cat([torch.randperm(len(self.stored), generator=self.streams["inner batch"])[:count] for _ in range(steps)])
        batch = self.stored.decode(index.to(self.task.device))
        return batch.images.unflatten(0, (steps, count)), batch.labels.unflatten(0, (steps, count))

    def _outer_loss(self) -> RealBatchLoss:
        """Draw a real batch and augment it."""
        count = min(self.method.real_batch, len(self.real))
        index = torch.randperm(len(self.real), generator=self.streams["real batch"])[:count].to(self.task.device)
        augmented = draw(self.method.augmentation, count, self.task.spec.shape, self.streams["real augmentation"])
        return RealBatchLoss(augmented(self.real[index]), self.real_labels[index])

    def _trained(self) -> dict[str, Tensor]:
        return {key: tensor for key, tensor in self.stored.named_parameters() if tensor.requires_grad}

    def _descend(self, batches: list[Batch], images: list[Tensor], labels: list[Tensor | None]) -> None:
        """Carry the gradients of the batches back into the stored tensors and take one Adam step."""
        roots = [batch.images for batch in batches] + [b.labels for b, g in zip(batches, labels, strict=True) if g is not None]
        trained = self._trained()
        flowing = torch.autograd.grad(roots, list(trained.values()), images + [g for g in labels if g is not None], allow_unused=True)
        gradients = {key: g for key, g in zip(trained, flowing, strict=True) if g is not None}
        if not all(bool(g.isfinite().all()) for g in gradients.values()):
            return  # one exploding window must not poison the moments for ever
        pixels = [g for key, g in gradients.items() if self.stored.roles[key] != "label"]
        factor = self.clip.factor(float(torch.stack([g.square().sum() for g in pixels]).sum().sqrt()))
        gradients = {key: g if self.stored.roles[key] == "label" else g * factor for key, g in gradients.items()}
        decay = 1.0
        if self.method.outer_schedule == "cosine":
            decay = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * self.done / self.total))
        rates = {key: decay * (self.method.label_lr if self.stored.roles[key] == "label" else self.method.outer_lr) for key in gradients}
        self.outer.step(trained, gradients, rates)
        with torch.no_grad():
            for key, tensor in trained.items():
                if self.stored.roles[key] == "label":
                    tensor.clamp_(min=0.0)

    def _accumulate_average(self) -> None:
        if self.done <= self.total * (1.0 - self.method.average):
            return
        current = {key: tensor.detach() for key, tensor in self._trained().items()} | {"count": torch.ones((), device=self.task.device)}
        if not self.average:
            self.average = {key: torch.zeros_like(tensor) for key, tensor in current.items()}
        for key, tensor in current.items():
            self.average[key] += tensor

    def _state(self) -> dict[str, Tensor]:
        """Return everything that decides how the run goes on, as tensors."""
        state = {f"stored.{key}": tensor.detach() for key, tensor in self._trained().items()}
        for key, (first, second) in self.outer.moments.items():
            state |= {f"first.{key}": first, f"second.{key}": second}
        state |= {f"average.{key}": tensor for key, tensor in self.average.items()}
        state |= {f"stream.{name}": generator.get_state() for name, generator in self.streams.items()}
        progress = [self.done, self.outer.steps, self.clip.running, get_args(Precision).index(self.method.precision)]
        return state | {"progress": torch.tensor(progress, dtype=torch.float64)}

    def _resume(self) -> None:
        saved = self.task.resume_from
        if saved is None:
            return
        done, steps, running, precision = saved["progress"].tolist()
        if get_args(Precision)[int(precision)] != self.method.precision:
            return  # the cell has the same key, but its record could not tell which steps were taken in which precision
        self.done, self.outer.steps, self.clip.running = int(done), int(steps), running
        with torch.no_grad():
            for key, tensor in self._trained().items():
                tensor.copy_(saved[f"stored.{key}"])
                if f"first.{key}" in saved:
                    first, second = (saved[f"{moment}.{key}"].to(tensor.device, copy=True) for moment in ("first", "second"))
                    self.outer.moments[key] = (first, second)
        kept = {key.removeprefix("average."): tensor for key, tensor in saved.items() if key.startswith("average.")}
        self.average = {key: tensor.to(self.task.device, copy=True) for key, tensor in kept.items()}
        for name, generator in self.streams.items():
            generator.set_state(saved[f"stream.{name}"])
