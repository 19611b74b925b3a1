"""The full-data line: students trained on all training images, scored like those of a distilled set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data import Dataset
from ..nn.networks import build_network, ensemble_mode
from ..nn.real import RealImages
from ..nn.spaces import shared_space
from ..nn.training import StudentStreams, train_students
from ..space import Space
from ..train_recipe import TrainRecipe
from .evaluate import OnProgress, StepCounter, count_training, network_name
from .protocol import FullDataRecipe, Protocol
from .scores import accuracies, tabulate

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class FullDataJudgement:
    """What full data reaches; the fields are those of ``Judgement``, as far as there is no distilled set.

    Attributes:
        audit: size of the training split in the terms of a set.
        scores: every single score; ``final_8bit`` is empty, as images are 8-bit anyway.
        training: ``network``, and ``presented_examples``, ``student_steps`` and ``flops`` of one student.
        notes: sentences for the reader.
        space: the pixel space the students see.
    """

    audit: dict[str, Any]
    scores: dict[str, Any]
    training: dict[str, Any]
    notes: list[str]
    space: Space


def judge_full_data(
    dataset: Dataset,
    protocol: Protocol,
    seed: int,
    cache: Path | None,
    device: torch.device = _CPU,
    on_progress: OnProgress | None = None,
) -> FullDataJudgement:
    """Train students on the whole training split by the protocol's full-data recipe and score them on val and test.

    Networks that are trained one after another get one student, others as many as the protocol says.

    Args:
        dataset: the data set.
        protocol: names the network, the number of students and the recipe.
        seed: part of the students' streams.
        cache: folder of prerequisites, where a large pixel space is kept.
        device: where to compute.
        on_progress: called with (student-steps done, student-steps in all).
    """
    asked = protocol.full_data
    space = shared_space(asked.space, dataset, cache)
    name = network_name(protocol, dataset.spec)
    network = build_network(name, dataset.spec)
    recipe = _recipe(asked, len(dataset.train))
    count = protocol.students if ensemble_mode(network) == "grouped" else 1
    # The streams keep the name that this line had in version 0.1, so that its numbers do not move.
    streams = [StudentStreams(("ceiling", dataset.spec.name, protocol.name, seed, repeat)) for repeat in range(count)]
    source = RealImages.of(dataset.spec, dataset.train, space, device)
    progress = StepCounter(count * recipe.steps, on_progress)
    kept = train_students(network, source, recipe, streams, protocol.steps_at(recipe.steps), sampling="cycle", on_steps=progress)
    val = accuracies(network, kept, dataset.val, space, device)
    test_split = dataset.test()
    test = accuracies(network, kept, test_split, space, device)
    scores = tabulate(test, val, len(test_split), len(dataset.val or ()), protocol.val_selection_min)
    scores |= {"lr": None, "lr_trials": [], "final_8bit": {"test": []}}
    presented = recipe.steps * recipe.batch_size
    notes = [f"trained on all {len(dataset.train)} training images for {presented / len(dataset.train):.3g} epochs"]
    return FullDataJudgement(_size(dataset), scores, count_training(name, network, dataset, presented, recipe.steps), notes, space)


def _recipe(asked: FullDataRecipe, images: int) -> TrainRecipe:
    return TrainRecipe(
        optimizer=asked.optimizer,
        lr=asked.lr,
        steps=asked.steps(images),
        batch_size=min(asked.batch_size, images),
        schedule=asked.schedule,
        augmentation=asked.augmentation,
    )


def _size(dataset: Dataset) -> dict[str, Any]:
    spec, images = dataset.spec, len(dataset.train)
    numbers = dataset.train.images.numel()
    return {
        "pixels": numbers // spec.channels,
        "px_with_labels": -(-(numbers + images) // spec.channels),
        "effective_ipc": images / spec.classes,
        "image_numbers": numbers,
        "label_numbers": images,
        "charged_labels": 0,
        "other_numbers": 0,
        "recipe_scalars": 0,
        "bytes": numbers + images,
        "images": images,
    }
