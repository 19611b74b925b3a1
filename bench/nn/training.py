"""Training of students on a small labelled set, one at a time or as one grouped ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Batch
from ..seeding import stream
from ..train_recipe import Loss, TrainRecipe
from .augment import Augmentation, draw, join
from .convnet.training import CompiledStudent, compiled_net, compiled_predictions
from .networks import Parameters, ensemble_mode, forward, grouped_forward, initial_parameters, stack

Sampling = Literal["subset", "cycle", "epochs"]

_WARMUP_STEPS = 500
_WARMUP_COSINE_END = 0.01


@dataclass(frozen=True)
class StudentStreams:
    """The three random streams of one student.

    Attributes:
        parts: names that identify the student, e.g. data set, protocol, distillation seed, repeat.

    Example:
        >>> import torch
        >>> from bench.nn.training import StudentStreams
        >>> streams = StudentStreams(("my method", 0))
        >>> torch.equal(torch.rand(3, generator=streams.generator("init")), torch.rand(3, generator=streams.generator("batches")))
        False
    """

    parts: tuple[str | int, ...]

    def generator(self, purpose: str) -> torch.Generator:
        """Return a fresh generator for ``init``, ``batches`` or ``augmentation``."""
        return stream("student", purpose, *self.parts)


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``-Σ_c y_c log softmax(z)_c`` averaged over the samples (second to last dimension), summed over students.

    Args:
        logits: (n, k) or (K, n, k).
        labels: same shape; rows need not sum to one, their size acts as the weight of the sample.

    Example:
        >>> import torch
        >>> from bench.nn.training import soft_cross_entropy
        >>> soft_cross_entropy(torch.zeros(4, 2), torch.full((4, 2), 0.5))
        tensor(0.6931)
    """
    losses = -(labels * F.log_softmax(logits, dim=-1)).sum(-1).mean(-1)
    return losses.sum()


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``½·Σ_c (z_c − y_c)²`` averaged over the samples (second to last dimension), summed over students.

    Args:
        logits: (n, k) or (K, n, k).
        labels: same shape; any finite targets, which may be negative.

    Example:
        >>> import torch
        >>> from bench.nn.training import squared_error
        >>> squared_error(torch.zeros(4, 2), torch.ones(4, 2))
        tensor(1.)
    """
    losses = 0.5 * (logits - labels).square().sum(-1).mean(-1)
    return losses.sum()


_LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": soft_cross_entropy, "mse": squared_error}


def learning_rate(recipe: TrainRecipe, step: int, steps_of_an_epoch: int = 0) -> float:
    """Return the learning rate of ``step`` (0 is the first) under the recipe's schedule.

    Args:
        recipe: its rate, schedule and number of steps.
        step: the step.
        steps_of_an_epoch: given where students walk in epochs. Then ``step`` is the schedule of DC's code: of E epochs, counted from
            0, the first at a tenth of the rate is epoch E // 2 + 1, whose first step is (E // 2 + 1) times ``steps_of_an_epoch``.
    """
    return recipe.lr * _share_of_rate(recipe, step, steps_of_an_epoch)


def _share_of_rate(recipe: TrainRecipe, step: int, steps_of_an_epoch: int) -> float:
    if recipe.schedule == "step" and steps_of_an_epoch:
        epochs = recipe.steps // steps_of_an_epoch
        return 0.1 if step >= (epochs // 2 + 1) * steps_of_an_epoch else 1.0
    if recipe.schedule == "step":
        return 0.1 if 2 * step >= recipe.steps else 1.0
    if recipe.schedule == "cosine":
        return _cosine(step / recipe.steps)
    if recipe.schedule == "warmup_cosine":
        if step < _WARMUP_STEPS:
            return step / _WARMUP_STEPS
        done = (step - _WARMUP_STEPS) / (recipe.steps - _WARMUP_STEPS)
        return _WARMUP_COSINE_END + (1.0 - _WARMUP_COSINE_END) * _cosine(done)
    return 1.0


def _cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


class Examples(Protocol):
    """Where minibatches come from, for examples that should not be turned into floats all at once."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the batches are put."""
        ...

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def take(self, index: Tensor) -> Batch:
        """Return the examples at ``index`` (n,), which is on the CPU."""
        ...


@dataclass(frozen=True)
class _Held:
    """A batch that is in memory as it is."""

    batch: Batch

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.batch.images.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        return self.batch.images.device

    def __len__(self) -> int:
        return len(self.batch.images)

    def take(self, index: Tensor) -> Batch:
        index = index.to(self.device)
        return Batch(self.batch.images[index], self.batch.labels[index])


def train_students(
    network: nn.Module,
    data: Batch | Examples,
    recipe: TrainRecipe,
    students: Sequence[StudentStreams],
    checkpoints: Sequence[int],
    *,
    sampling: Sampling = "subset",
    on_steps: Callable[[int], None] | None = None,
    start: Sequence[Parameters] | None = None,
) -> dict[int, list[Parameters]]:
    """Train fresh students on ``data`` and return their parameters at the given numbers of steps.

    A student's result depends on its own streams only, not on the others beside it (up to the rounding of grouped
    kernels). Compiled kernels train them one after another where they can, which is by cross-entropy only; else they
    are one grouped ensemble where ``ensemble_mode`` says so.

    Args:
        network: architecture.
        data: all images (n, c, h, w) and labels (n, k) of the set, in the space students see, or a source of them.
        recipe: optimizer, steps, batch size, augmentation.
        students: the streams of each student.
        checkpoints: steps at which parameters are kept, each from 1 to ``recipe.steps``.
        sampling: ``subset`` draws every batch afresh without replacement, and takes all of a smaller set; ``cycle``
            walks through one permutation of the set after another, so that every batch has exactly
            ``recipe.batch_size`` images and a smaller set repeats some within a batch; ``epochs`` walks through one
            permutation after another, too, but no batch reaches into the next, so that the last of an epoch may be smaller.
        on_steps: called after every step with the number of student-steps it took.
        start: parameters of every student to go on from, in the place of fresh ones; optimizers begin anew.

    Returns:
        step -> parameters of every student, in order.

    Example:
        >>> import torch
        >>> from bench import Batch, Spec, TrainRecipe
        >>> from bench.nn.networks import build_network
        >>> from bench.nn.training import StudentStreams, predict, train_students
        >>> network = build_network("convnet-d2-w32", Spec("toy", 2, (1, 8, 8), ("one", "other")))
        >>> batch = Batch(torch.cat([torch.zeros(4, 1, 8, 8), torch.ones(4, 1, 8, 8)]), torch.eye(2).repeat_interleave(4, 0))
        >>> students = [StudentStreams(("example", number)) for number in range(2)]
        >>> trained = train_students(network, batch, TrainRecipe(lr=0.01, steps=20), students, checkpoints=[20])
        >>> predict(network, trained[20], batch.images).shape
        torch.Size([2, 8])
    """
    source = _Held(data) if isinstance(data, Batch) else data
    net = compiled_net(network, source.shape, source.device) if recipe.loss == "cross_entropy" else None
    first = list(start) if start is not None else [initial_parameters(network, s.generator("init"), source.device) for s in students]
    if net is not None:
        compiled = [CompiledStudent(net, network, parameters, recipe) for parameters in first]
        return _train_compiled(compiled, _Sampler(source, recipe, students, sampling), recipe, checkpoints, on_steps)
    together = ensemble_mode(network) == "grouped"
    groups = [slice(None)] if together else [slice(k, k + 1) for k in range(len(students))]
    samplers = [_Sampler(source, recipe, students[group], sampling) for group in groups]
    runs = [_train(network, sampler, recipe, first[group], checkpoints, on_steps) for sampler, group in zip(samplers, groups, strict=True)]
    return {step: [parameters for run in runs for parameters in run[step]] for step in checkpoints}


def _train(
    network: nn.Module,
    sampler: _Sampler,
    recipe: TrainRecipe,
    students: Sequence[Parameters],
    checkpoints: Sequence[int],
    on_steps: Callable[[int], None] | None,
) -> dict[int, list[Parameters]]:
    parameters = {key: value.requires_grad_() for key, value in stack(list(students)).items()}
    optimizer, loss = _optimizer(recipe, list(parameters.values())), _LOSSES[recipe.loss]
    kept: dict[int, list[Parameters]] = {}
    for step in range(max(checkpoints)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, sampler.steps_of_an_epoch)
        images, labels = sampler.draw()
        optimizer.zero_grad(set_to_none=True)
        loss(_logits(network, parameters, images), labels).backward()
        optimizer.step()
        if step + 1 in checkpoints:
            kept[step + 1] = [{key: value[k].detach().clone() for key, value in parameters.items()} for k in range(len(students))]
        if on_steps is not None:
            on_steps(len(students))
    return kept


def _train_compiled(
    students: Sequence[CompiledStudent],
    sampler: _Sampler,
    recipe: TrainRecipe,
    checkpoints: Sequence[int],
    on_steps: Callable[[int], None] | None,
) -> dict[int, list[Parameters]]:
    kept: dict[int, list[Parameters]] = {}
    for step in range(max(checkpoints)):
        images, labels = sampler.draw()
        for k, student in enumerate(students):
            student.step(images[k], labels[k], learning_rate(recipe, step, sampler.steps_of_an_epoch))
        if step + 1 in checkpoints:
            kept[step + 1] = [student.parameters() for student in students]
        if on_steps is not None:
            on_steps(len(students))
    return kept


def _optimizer(recipe: TrainRecipe, parameters: list[Tensor]) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, foreach=True)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=True)


class _Sampler:
    """Draws a minibatch per student; every student has its own streams, so none depends on those beside it."""

    def __init__(self, source: Examples, recipe: TrainRecipe, students: Sequence[StudentStreams], sampling: Sampling) -> None:
        self.source = source
        self.augmentation = recipe.augmentation
        total = len(source)
        wanted = recipe.batch_size or total
        self.size = wanted if sampling == "cycle" else min(wanted, total)
        self.steps_of_an_epoch = math.ceil(total / self.size) if sampling == "epochs" else 0
        whole = sampling != "cycle" and self.size == total
        self.everything = source.take(torch.arange(total)) if whole else None
        self.orders = [s.generator("batches") for s in students]
        self.augmentations = [s.generator("augmentation") for s in students]
        self.sampling = sampling
        self.walks = [torch.empty(0, dtype=torch.int64) for _ in students]

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return images (K, b, c, h, w) and labels (K, b, k), augmented."""
        count, shape = len(self.orders), self.source.shape
        if self.everything is not None:
            images = self.everything.images.expand(count, *self.everything.images.shape)
            labels = self.everything.labels.expand(count, *self.everything.labels.shape)
        else:
            batch = self.source.take(torch.cat([self.index(k) for k in range(count)]))
            images = batch.images.unflatten(0, (count, -1))
            labels = batch.labels.unflatten(0, (count, -1))
        if self.augmentation != "none":
            size = images.shape[1]
            drawn = join([draw(self.augmentation, size, shape, g) for g in self.augmentations], size, shape)
            if drawn != Augmentation():
                images = drawn(images.reshape(-1, *shape)).reshape(images.shape)
        return images, labels

    def index(self, student: int) -> Tensor:
        """Return which examples the student sees next: (b,) int64."""
        total, generator = len(self.source), self.orders[student]
        if self.sampling == "subset":
            return torch.randperm(total, generator=generator)[: self.size]
        walk = self.walks[student]
        if self.sampling == "epochs" and len(walk) == 0:
            walk = torch.randperm(total, generator=generator)
        while self.sampling == "cycle" and len(walk) < self.size:
            walk = torch.cat([walk, torch.randperm(total, generator=generator)])
        self.walks[student] = walk[self.size :]
        return walk[: self.size]


def _logits(network: nn.Module, stacked: Parameters, images: Tensor) -> Tensor:
    if len(images) == 1:
        return forward(network, {key: value[0] for key, value in stacked.items()}, images[0]).unsqueeze(0)
    return grouped_forward(network, stacked, images)


@torch.no_grad()
def predict(network: nn.Module, students: Sequence[Parameters], images: Tensor, batch_size: int = 256) -> Tensor:
    """Return the class each student gives to each image: (K, n) int64.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, initial_parameters
        >>> from bench.nn.training import predict
        >>> network = build_network("convnet-d2-w32", Spec("toy", 2, (1, 8, 8), ("one", "other")))
        >>> student = initial_parameters(network, torch.Generator().manual_seed(0))
        >>> predict(network, [student], torch.rand(5, 1, 8, 8)).shape
        torch.Size([1, 5])
    """
    channels, height, width = images.shape[1:]
    if (net := compiled_net(network, (channels, height, width), images.device)) is not None:
        return compiled_predictions(net, network, students, images)
    if ensemble_mode(network) == "grouped" and len(students) > 1:
        stacked = stack(list(students))
        parts = [grouped_forward(network, stacked, part.expand(len(students), *part.shape)).argmax(-1) for part in images.split(batch_size)]
        return torch.cat(parts, dim=1)
    return torch.stack([torch.cat([forward(network, s, part).argmax(-1) for part in images.split(batch_size)]) for s in students])
