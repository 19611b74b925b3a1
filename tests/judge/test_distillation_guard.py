"""Methods that reach for val or test while they distil: refused, and remembered even where they catch the refusal."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import pytest
from sklearn.datasets import load_digits

from bench import BudgetRequest, Dataset, DistilledSet, Method, Task, load_dataset
from bench.guard import ForbiddenAccess, guarded
from bench.nn.spaces import fit_space


@dataclass(frozen=True)
class ReachesForTest(Method):
    """Opens the whole data set again."""

    name: ClassVar[str] = "reaches-for-test"
    reference: ClassVar[str] = "none"

    def distill(self, task: Task) -> DistilledSet:
        images = load_dataset(task.spec.name).test().images
        raise AssertionError(f"got {len(images)} test images")


@dataclass(frozen=True)
class DistilsVal(Method):
    """Asks the library for all 1,797 digits, to take those that are not in train; falls back quietly."""

    name: ClassVar[str] = "distils-val"
    reference: ClassVar[str] = "none"

    def distill(self, task: Task) -> DistilledSet:
        try:
            everything = load_digits().images
        except Exception:
            everything = task.train.images.numpy()
        assert len(everything) == len(task.train)
        return None  # type: ignore[return-value]


@pytest.fixture
def task(digits: Dataset) -> Task:
    spec = digits.spec
    budget = BudgetRequest.parse("1").resolve(spec.classes, spec.height, spec.width)
    return Task(spec, digits.train, budget, 0, "key", lambda name: fit_space(name, digits.train))


def test_reaching_for_test_is_refused(task: Task, digits: Dataset) -> None:
    with guarded(digits.files) as violations, pytest.raises(ForbiddenAccess):
        ReachesForTest().distill(task)
    assert violations


def test_distilling_val_is_remembered_though_it_was_caught(task: Task, digits: Dataset) -> None:
    with guarded(digits.files) as violations:
        DistilsVal().distill(task)
    assert any("digits" in violation for violation in violations)


def test_a_task_offers_neither_val_nor_test(task: Task, digits: Dataset) -> None:
    assert not {"val", "test", "dataset"} & {f.name for f in fields(Task)}
    assert digits.val is not None
    assert len(task.train) == len(digits.train)
    with pytest.raises(RuntimeError, match="no validation split"):
        task.validate(None)  # type: ignore[arg-type]


def test_digits_name_the_file_to_close(digits: Dataset) -> None:
    """And what is kept decoded is closed beside them, of whatever data set."""
    *named, decoded = digits.files
    assert named
    assert all(Path(file).is_file() for file in named)
    assert Path(decoded).name == "decoded"
