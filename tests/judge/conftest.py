"""Fixtures of the judge's tests: a tiny data set, and honest sets on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from registries import restored_registries

from bench import Budget, BudgetRequest, Dataset, DistilledSet, TrainRecipe
from bench.judge import Protocol
from bench.judge.protocol import CommonRecipe, FullDataRecipe
from bench.registry import PARAMETERIZATIONS, load_plugin_file

TOY_FILE = str(Path(__file__).with_name("toy.py"))

MakeSet = Callable[..., DistilledSet]


@pytest.fixture(scope="module")
def toy(plugins: None) -> Iterator[ModuleType]:
    """The module of the toy plugins, imported as ``--plugin`` does and gone again for the tests of other files."""
    with restored_registries():
        load_plugin_file(TOY_FILE)
        yield sys.modules[PARAMETERIZATIONS["judge-plain"].__module__]


@pytest.fixture(scope="module")
def bars(toy: ModuleType) -> Dataset:
    """Two classes of 8x8 bars with 60 validation images."""
    return toy.judge_toy(None)


@pytest.fixture(scope="module")
def make_set(toy: ModuleType, bars: Dataset) -> MakeSet:
    """Build a set of real training images, ``per_class`` of each class, as students see them."""

    def make(per_class: int = 1, dataset: Dataset = bars, **choices: object) -> DistilledSet:
        index = torch.cat([dataset.train.of_class(label)[:per_class] for label in range(dataset.spec.classes)])
        plain = toy.Plain(dataset.spec, len(index))
        plain.write(dataset.train.unit_images(index), dataset.train.labels[index])
        settings = {"recipe": TrainRecipe(steps=20, lr=0.01), "coordinates": "rgb", **choices}
        return DistilledSet(dataset.spec, plain, **settings)  # type: ignore[arg-type]

    return make


@pytest.fixture
def budget(bars: Dataset) -> Budget:
    """Ten images per class of the toy data."""
    return BudgetRequest.parse("10").resolve(2, 8, 8)


@pytest.fixture(scope="session")
def native() -> Protocol:
    """The native protocol with two students."""
    return Protocol("native-v1", "native", students=2, full_data=FullDataRecipe(epochs=2, least_examples=0, batch_size=16))


@pytest.fixture(scope="session")
def common(native: Protocol) -> Protocol:
    """A common protocol that takes a moment."""
    recipe = CommonRecipe(lr_grid=(0.001, 0.01, 0.1), presented_examples=160, batch_size=8)
    return replace(native, name="common-v1", recipe="common", network="default", common=recipe)
