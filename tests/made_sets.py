"""A small distilled set in an out folder, whole as the suite leaves it, and what holds for every set that comes back from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench import DistilledSet, Parameterization, Spec, TrainRecipe
from bench.decoders.images import Images
from bench.sweep.store import Store

SPEC = Spec("toy", 2, (1, 8, 8), ("one", "other"))


def make_set(store: Store, key: str, **info: Any) -> Path:
    images = Images(SPEC, count=2)
    images.images.data.copy_(torch.linspace(0, 1, 128).view(2, 1, 8, 8))
    folder = store.make_room(key)
    DistilledSet(SPEC, images, TrainRecipe(steps=20)).save(folder)
    store.finish_set(key, info)
    return folder


def assert_comes_back(stored: Parameterization, spec: Spec, folder: Path) -> None:
    """Save a set, load it, and compare what it decodes to, and its shapes with those that its config tells."""
    assert type(stored).shapes(stored.config(), spec) == {key: tuple(tensor.shape) for key, tensor in stored.state_dict().items()}
    DistilledSet(spec, stored, TrainRecipe()).save(folder)
    again = DistilledSet.load(folder, spec).parameterization
    assert torch.equal(again.decode().images, stored.decode().images)
    assert torch.equal(again.decode().labels, stored.decode().labels)
