"""Data sets are opened and checked, the test split too, before anything of a run is planned or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import write_layout, write_mnist

from bench import BenchError
from bench.prerequisite_store import PrerequisiteStore
from bench.sweep.planning.plan import Plan
from bench.sweep.planning.planner import Planner
from bench.sweep.readers import from_keywords

SMALL = {"methods": "random", "budgets": [1], "seeds": 1, "students": 1, "no_reference": True, "offline": True}


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    def make(datasets: str, **given: object) -> Plan:
        settings = from_keywords(None, **{**SMALL, "datasets": datasets, "data_root": str(tmp_path / "data"), **given})
        return Planner(settings, PrerequisiteStore(tmp_path / "prerequisites")).plan()

    return make


def damaged_test_labels(folder: Path) -> None:
    np.save(folder / "test_labels.npy", np.array([0, 1, 3] * 2))


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a test label beyond the classes": (damaged_test_labels, "test_labels.npy must hold 6 integers from 0 to 2"),
    "a damaged test file": (lambda folder: (folder / "test_images.npy").write_bytes(b"0"), "cannot be read as one numpy array"),
    "no test images": (lambda folder: np.save(folder / "test_images.npy", np.zeros((0, 4, 5, 3), np.uint8)), "it holds no image"),
    "test images of another size": (lambda folder: np.save(folder / "test_images.npy", np.zeros((6, 4, 4, 3), np.uint8)), "is needed"),
    "a class without images": (lambda folder: np.save(folder / "train_labels.npy", np.array([0, 1] * 3)), "no training image of class 2"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "complaint"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_data_set_that_cannot_be_used_ends_planning(
    damage: Callable[[Path], object], complaint: str, plan: Callable[..., Plan], tmp_path: Path
) -> None:
    damage(write_layout(tmp_path / "data"))
    with pytest.raises(BenchError, match=complaint):
        plan("toy")


def test_no_data_set_is_planned_before_all_are_checked(plan: Callable[..., Plan], tmp_path: Path) -> None:
    (write_mnist(tmp_path / "data") / "t10k-labels-idx1-ubyte").write_bytes(b"0")
    with pytest.raises(BenchError, match="t10k-labels-idx1-ubyte must be an idx file of labels"):
        plan("digits,mnist", methods="podd[order=features]")  # planning it for digits would build what it looks into
    assert not (tmp_path / "prerequisites").exists()


def test_arrays_without_a_plugin_are_planned_and_marked(plan: Callable[..., Plan], tmp_path: Path) -> None:
    write_layout(tmp_path / "data", shape=(6, 8, 8, 3))
    (planned,) = plan("toy", split="paper").cells
    assert (planned.cell.dataset, planned.cell.unofficial, planned.state) == ("toy", True, "pending")


def notes(plan: Plan) -> list[str]:
    return [note for planned in plan.cells for note in planned.cell.notes]


def test_images_that_have_to_be_repeated_are_noted(plan: Callable[..., Plan], tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "data", shape=(6, 8, 8, 3))
    np.save(folder / "train_labels.npy", np.array([0, 0, 0, 0, 1, 2]))
    short = "class 1 has 1 training images where 3 are kept (and so for 1 more), so images are repeated and charged again"
    assert notes(plan("toy", split="paper", budgets=[1, 3])) == [short]
    assert notes(plan("toy", split="paper", budgets=[1], methods="random[form=tiles]")) == [short.replace("3 are", "4 are")]
    # Noise is not drawn from images, so nothing repeats.
    assert notes(plan("toy", split="paper", budgets=[3], methods="rat_bptt")) == []
    assert notes(plan("toy", split="paper", budgets=[3], methods="rat_bptt[init=random]")) == [short]


def test_a_note_of_repeated_images_changes_no_key(plan: Callable[..., Plan], tmp_path: Path) -> None:
    """The counts are those of the data, whose hash is in the key already."""
    from bench.sweep.planning.cell_keys import distil_key

    folder = write_layout(tmp_path / "data", shape=(6, 8, 8, 3))
    np.save(folder / "train_labels.npy", np.array([0, 0, 0, 0, 1, 2]))
    (planned,) = plan("toy", split="paper", budgets=[3]).cells
    assert planned.cell.notes
    planned.cell.notes = []
    assert distil_key(planned.cell) == planned.distil_key
