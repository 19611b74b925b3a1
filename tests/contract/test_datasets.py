"""What every registered data set keeps, shown on digits and on whatever real data is at hand.

The checks themselves are in ``bench.contract``, where ``check FILE`` runs them over a plugin that lies elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import DATASETS, BenchError, DataOptions, registry
from bench.contract.checks import Check
from bench.contract.datasets import DATASET_CHECKS, DECLARATION_CHECKS, DatasetTrial
from bench.dataset_family import is_family, required
from bench.loading import array_datasets

registry.discover()
EMBEDDED = ("digits",)  # these need no files and are checked everywhere
NOWHERE = DataOptions(Path("no such folder"), download=False)
REAL = DataOptions(Path(os.environ.get("DDBENCH_TEST_DATA", NOWHERE.root)), download=False)
NAMES = [*(name for name in DATASETS if not (is_family(DATASETS[name]) and required(DATASETS[name]))), *array_datasets(REAL.root)]


@pytest.fixture(scope="module", params=NAMES)
def trial(request: pytest.FixtureRequest) -> DatasetTrial:
    """The data set where it lies: nowhere for those that are embedded, else in the folder with real data."""
    name = str(request.param)
    found = DatasetTrial(name, NOWHERE if name in EMBEDDED else request.getfixturevalue("real_data"))
    try:
        assert found.dataset.spec.name == name
    except BenchError as error:
        if "is not in" in str(error):
            pytest.skip(f"DDBENCH_TEST_DATA names no folder with real data: it has no {name}")
        raise
    return found


@pytest.mark.parametrize("check", DECLARATION_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", NAMES)
def test_before_its_files_are_opened(name: str, check: Check[DatasetTrial]) -> None:
    check.run(DatasetTrial(name, REAL))


@pytest.mark.parametrize("check", DATASET_CHECKS, ids=lambda check: check.name)
def test_with_its_files(trial: DatasetTrial, check: Check[DatasetTrial]) -> None:
    check.run(trial)
