"""What every registered data set keeps, shown on digits and on whatever real data is at hand."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest
import torch

from bench import DATASETS, BenchError, DataOptions, Dataset, load_dataset, registry
from bench.guard import ForbiddenAccess, guarded
from bench.loading import array_datasets, find_dataset

registry.discover()
EMBEDDED = ("digits",)  # these need no files and are checked everywhere
REAL = Path(os.environ.get("DDBENCH_TEST_DATA", "no such folder"))
NAMES = [*DATASETS, *array_datasets(REAL)]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def options(name: str, request: pytest.FixtureRequest) -> DataOptions:
    """Where the data set lies: nowhere for those that are embedded, else in the folder with real data."""
    if name in EMBEDDED:
        return DataOptions(Path("no such folder"), download=False)
    real: DataOptions = request.getfixturevalue("real_data")
    return real


@pytest.fixture
def dataset(name: str, options: DataOptions) -> Dataset:
    try:
        return load_dataset(name, options=options)
    except BenchError as error:
        if "is not in" in str(error):
            pytest.skip(f"DDBENCH_TEST_DATA names no folder with real data: it has no {name}")
        raise


def test_it_says_what_it_is_without_opening_an_image(name: str) -> None:
    plugin = find_dataset(name, REAL)
    spec = plugin.spec
    assert spec.name == name
    assert plugin.reference.strip()
    assert (plugin.__doc__ or "").strip()
    assert len(spec.class_names) == spec.classes == len(set(spec.class_names))
    assert all(spec.shape)


def test_splits_fit_the_spec(dataset: Dataset) -> None:
    test = dataset.test()
    assert dataset.val is not None
    for split in (dataset.train, dataset.val, test):
        assert split.images.shape[1:] == dataset.spec.shape
        assert split.labels.unique().tolist() == list(range(dataset.spec.classes))
        assert int(split.images.amax()) > 127  # pixels use the range 0..255


def test_opening_it_twice_gives_the_same(dataset: Dataset, name: str, options: DataOptions) -> None:
    again = load_dataset(name, options=options)
    assert again.fingerprint() == dataset.fingerprint()
    assert again.files == dataset.files


def test_the_splits_share_no_image(dataset: Dataset) -> None:
    assert dataset.val is not None
    splits = (dataset.train, dataset.val, dataset.test())
    images = [{image.numpy().tobytes() for image in split.images} for split in splits]
    for one, other in combinations(images, 2):
        assert len(one & other) <= 0.001 * len(splits[-1])  # the official sets themselves hold a few duplicates


def test_the_guard_closes_every_door_to_it(dataset: Dataset) -> None:
    assert dataset.files
    with guarded(dataset.files) as violations, pytest.raises(ForbiddenAccess):
        dataset.test()
    assert violations


def test_the_global_generator_is_left_alone(dataset: Dataset, name: str, options: DataOptions) -> None:
    before = torch.get_rng_state()
    load_dataset(name, options=options)
    dataset.test()
    assert torch.equal(torch.get_rng_state(), before)


def test_split_paper_joins_train_and_val(dataset: Dataset, name: str, options: DataOptions) -> None:
    paper = load_dataset(name, "paper", options)
    assert paper.val is None
    assert dataset.val is not None
    assert len(paper.train) == len(dataset.train) + len(dataset.val)
