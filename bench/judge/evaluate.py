"""Trains fresh students on a set that was reloaded from disk, and scores them. Only the judge uses the test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..budget import Budget
from ..data import Batch, Dataset, Spec
from ..distilled import DistilledSet
from ..nn.networks import Parameters, build_network, default_network, flops_per_image
from ..nn.spaces import shared_space
from ..nn.training import Sampling, StudentStreams, train_students
from ..record import mean
from ..space import Space
from ..train_recipe import TrainRecipe
from .audit import examine
from .decoding import decode_closed, load_closed, rebuilt
from .protocol import DEFAULT_NETWORK, OWN_NETWORK, CommonRecipe, Protocol
from .quantize import eight_bit
from .scores import accuracies, tabulate

OnProgress = Callable[[int, int], None]

_CPU = torch.device("cpu")

#: Kind of recipe -> how students walk through a set.
_SAMPLING: dict[str, Sampling] = {"native": "subset", "common": "cycle", "published": "epochs"}


@dataclass(frozen=True)
class Judgement:
    """What the judge says of a set.

    Attributes:
        audit: what the stored file holds.
        scores: every single score.
        training: ``network``, and ``presented_examples``, ``student_steps`` and ``flops`` of one student.
        notes: sentences for the reader.
        distilled: the set as it was reloaded.
        space: the pixel space its students see.
    """

    audit: dict[str, Any]
    scores: dict[str, Any]
    training: dict[str, Any]
    notes: list[str]
    distilled: DistilledSet
    space: Space


class StepCounter:
    """Counts the steps of all students of one judgement."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        """Start at zero of ``total`` student-steps."""
        self.done, self.total, self.on_progress = 0, total, on_progress
        self._told = 0

    def __call__(self, steps: int) -> None:
        """Count ``steps`` more and tell the listener of every two-hundredth of the way."""
        self.done += steps
        if self.on_progress is not None and ((self.done - self._told) * 200 >= self.total or self.done == self.total):
            self._told = self.done
            self.on_progress(self.done, self.total)


@dataclass(frozen=True)
class _Trial:
    """Everything that stays the same while students are trained on one set.

    Attributes:
        dataset: the data set.
        distilled: the set.
        protocol: how it is judged.
        space: the space students see.
        network_name: architecture, as recorded.
        network: the built architecture.
        streams: streams of every student.
        device: where to compute.
    """

    dataset: Dataset
    distilled: DistilledSet
    protocol: Protocol
    space: Space
    network_name: str
    network: nn.Module
    streams: list[StudentStreams]
    device: torch.device

    def recipe(self, lr: float | None = None) -> TrainRecipe:
        """Return the set's own recipe, or the imposed one at a learning rate; the loss is the set's own, as its labels are made for it."""
        common, published = self.protocol.common, self.protocol.published
        if published is not None:
            return published.train_recipe(self.distilled.recipe, self.dataset.spec, len(self.distilled.parameterization))
        if common is None:
            return self.distilled.recipe
        mirror = self.dataset.spec.mirror
        return TrainRecipe(
            optimizer=common.optimizer,
            lr=common.middle_lr if lr is None else lr,
            steps=common.steps,
            batch_size=common.batch_size,
            momentum=common.momentum,
            weight_decay=common.weight_decay,
            schedule=common.schedule,
            augmentation=common.augmentation_mirror if mirror else common.augmentation_upright,
            loss=self.distilled.recipe.loss,
        )

    def seen(self, batch: Batch) -> Batch:
        """Return decoded images and labels as students see them."""
        images = batch.images.to(self.device)
        if self.distilled.coordinates == "rgb":
            images = self.space.transform(images)
        return Batch(images, batch.labels.to(self.device))

    def train(
        self, data: Batch, recipe: TrainRecipe, students: Sequence[StudentStreams], checkpoints: Sequence[int], progress: StepCounter
    ) -> dict[int, list[Parameters]]:
        """Train students; under a common recipe every step shows exactly its batch size, whatever the set's size."""
        sampling = _SAMPLING[self.protocol.recipe]
        return train_students(self.network, data, recipe, students, checkpoints, sampling=sampling, on_steps=progress)

    def training(self, recipe: TrainRecipe, images: int) -> dict[str, Any]:
        """Count what one student costs: a step shows one batch, forward and backward take three forward passes."""
        size = recipe.batch_size or images
        presented = recipe.steps * (min(size, images) if self.protocol.common is None else size)
        if (published := self.protocol.published) is not None:
            presented = published.presented(self.dataset.spec, images)
        return count_training(self.network_name, self.network, self.dataset, presented, recipe.steps)


def count_training(name: str, network: nn.Module, dataset: Dataset, presented: int, steps: int) -> dict[str, Any]:
    """Return the record's ``training`` of one student that saw ``presented`` images in ``steps`` steps."""
    flops = 3 * flops_per_image(network, dataset.spec) * presented
    return {"network": name, "presented_examples": presented, "student_steps": steps, "flops": flops}


def judge_folder(
    folder: Path,
    dataset: Dataset,
    budget: Budget,
    protocol: Protocol,
    seed: int,
    cache: Path | None,
    device: torch.device = _CPU,
    on_progress: OnProgress | None = None,
) -> Judgement:
    """Load the set in ``folder``, audit it, train fresh students on it and score them on val and test.

    Student streams come from (data set, protocol, distillation seed, repeat), so students of different methods start
    from the same networks and see batches in the same order.

    Args:
        folder: where ``DistilledSet.save`` put the set.
        dataset: the data set with val (split ``dev``) or without (split ``paper``).
        budget: pixels granted.
        protocol: how to judge.
        seed: distillation seed.
        cache: folder of prerequisites, where a large pixel space is kept.
        device: where students are trained.
        on_progress: called with (student-steps done, student-steps in all).

    Raises:
        RejectedSet: the set breaks a rule of the audit.
    """
    distilled = load_closed(folder, dataset.spec)
    examination = examine(distilled, budget)
    distilled = rebuilt(distilled)  # what is judged is what the audit counted
    trial = _open(distilled, dataset, protocol, seed, cache, device, "judge")
    data = trial.seen(examination.batch)
    notes = _notes(trial)
    lr, trials, progress = _choose_lr(trial, data, _progress(trial, on_progress))
    recipe = trial.recipe(lr)
    kept = trial.train(data, recipe, trial.streams, protocol.steps_at(recipe.steps), progress)
    val = accuracies(trial.network, kept, dataset.val, trial.space, device)
    test_split = dataset.test()
    test = accuracies(trial.network, kept, test_split, trial.space, device)
    scores = tabulate(test, val, len(test_split), len(dataset.val or ()), protocol.val_selection_min)
    scores |= {"lr": lr, "lr_trials": trials, "final_8bit": {"test": []}}
    coarse = decode_closed(eight_bit(distilled).parameterization)
    if torch.isfinite(coarse.images).all() and torch.isfinite(coarse.labels).all():
        kept = trial.train(trial.seen(coarse), recipe, trial.streams, [recipe.steps], progress)
        scores["final_8bit"] = {"test": accuracies(trial.network, kept, test_split, trial.space, device)[recipe.steps]}
    else:
        notes.append("after the 8-bit round trip the set decodes to numbers that are not finite; no student was trained on it")
    training = trial.training(recipe, len(data.images))
    return Judgement(examination.counts, scores, training, notes, distilled, trial.space)


def validation_accuracy(
    distilled: DistilledSet, dataset: Dataset, protocol: Protocol, seed: int, cache: Path | None, device: torch.device = _CPU
) -> float:
    """Return the mean accuracy on val of students trained on ``distilled`` as the protocol says; see ``validation_accuracies``."""
    return mean(validation_accuracies(distilled, dataset, protocol, seed, cache, device))


def validation_accuracies(
    distilled: DistilledSet,
    dataset: Dataset,
    protocol: Protocol,
    seed: int,
    cache: Path | None,
    device: torch.device = _CPU,
    purpose: str = "validate",
) -> list[float]:
    """Return the accuracy on val of every student trained on ``distilled`` as the protocol says.

    The students are others than those that judge the set in the end (their streams differ), so tuning on these numbers
    does not fit the judge's own students. Another ``purpose`` has students of its own. The test split is not opened.

    Raises:
        RejectedSet: the decoder reached for something closed, or gave numbers that are not finite.
        ValueError: the data set has no val.
    """
    if dataset.val is None:
        raise ValueError(f"data set {dataset.spec.name} has no validation images under this split")
    trial = _open(distilled, dataset, protocol, seed, cache, device, purpose)
    data = trial.seen(decode_closed(distilled.parameterization))
    lr, _, progress = _choose_lr(trial, data, StepCounter(0, None))
    recipe = trial.recipe(lr)
    kept = trial.train(data, recipe, trial.streams, [recipe.steps], progress)
    return accuracies(trial.network, kept, dataset.val, trial.space, device)[recipe.steps]


def _open(
    distilled: DistilledSet, dataset: Dataset, protocol: Protocol, seed: int, cache: Path | None, device: torch.device, purpose: str
) -> _Trial:
    name = network_name(protocol, dataset.spec, distilled.network)
    parts: tuple[str | int, ...] = (dataset.spec.name, protocol.name, seed)
    # Other students than the judge's, so that tuning on val does not fit the networks that will judge.
    if purpose != "judge":
        parts = (purpose, *parts)
    return _Trial(
        dataset=dataset,
        distilled=distilled,
        protocol=protocol,
        space=shared_space(distilled.space, dataset, cache),
        network_name=name,
        network=build_network(name, dataset.spec),
        streams=[StudentStreams((*parts, repeat)) for repeat in range(protocol.students)],
        device=device,
    )


def network_name(protocol: Protocol, spec: Spec, own: str = "") -> str:
    """Return the network the protocol asks for, ``own`` being the one the set was made for."""
    if protocol.network == OWN_NETWORK:
        return own or default_network(spec)
    return default_network(spec) if protocol.network == DEFAULT_NETWORK else protocol.network


def _progress(trial: _Trial, on_progress: OnProgress | None) -> StepCounter:
    """Count the student-steps ahead: the learning rates that are tried, the students, and those of the 8-bit set."""
    runs = 2 * len(trial.streams)
    if (common := trial.protocol.common) is not None and trial.dataset.val is not None:
        runs += len(common.lr_grid) * _lr_students(trial, common)
    return StepCounter(runs * trial.recipe().steps, on_progress)


def _lr_students(trial: _Trial, common: CommonRecipe) -> int:
    return min(common.lr_students, len(trial.streams))


def _choose_lr(trial: _Trial, data: Batch, progress: StepCounter) -> tuple[float | None, list[dict[str, Any]], StepCounter]:
    """Return the learning rate of a common protocol with the best mean val accuracy, the smaller one of equals."""
    common = trial.protocol.common
    if common is None:
        return None, [], progress
    if trial.dataset.val is None:
        return common.middle_lr, [], progress
    tried: list[dict[str, Any]] = []
    for lr in common.lr_grid:
        recipe = replace(trial.recipe(), lr=lr)
        kept = trial.train(data, recipe, trial.streams[: _lr_students(trial, common)], [recipe.steps], progress)
        tried.append({"lr": lr, "val": accuracies(trial.network, kept, trial.dataset.val, trial.space, trial.device)[recipe.steps]})
    # The grid ascends and ``max`` keeps the first of equals, so the smaller rate wins a tie.
    best = max(tried, key=lambda row: mean(row["val"]))
    return float(best["lr"]), tried, progress


def _notes(trial: _Trial) -> list[str]:
    notes = []
    common, own = trial.protocol.common, trial.distilled.network
    if common is not None and trial.dataset.val is None:
        notes.append(f"there is no val under this split, so the middle learning rate {common.middle_lr:g} was used instead of a chosen one")
    if own and own != trial.network_name:
        notes.append(f"the set was made for {own} and is judged on {trial.network_name}")
    return notes
