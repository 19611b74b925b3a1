"""Every form with every objective that planning does not refuse: it runs from the command line, and its students are above chance."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench import FORMS, OBJECTIVES, Dataset, registry
from bench.contract.combinations import combinations

registry.discover()

CHANCE = 0.1
#: How little of every objective is enough here.
TINY = {
    "bptt": "window=4,totwindow=8,real_batch=64,outer_iterations=20,outer_lr=1e-2,student_lr=5e-3",
    "dc": "outer_iterations=10,class_batch=32,student_optimizer=sgd,student_lr=1e-2",
    "dm": "outer_iterations=10,class_batch=32,student_optimizer=sgd,student_lr=1e-2",
    "frepo": "outer_iterations=10,real_batch=64,pool_size=2,outer_lr=1e-3,student_lr=5e-3",
    "mtt": "experts=1,max_start=1,expert_epochs=1,syn_steps=5,outer_iterations=5,outer_lr=1,student_optimizer=sgd,student_lr=1e-2",
}
STUDENT = "init=real,student_steps=100,augmentation=rotate"


def test_every_objective_has_its_little_recipe() -> None:
    assert set(TINY) == set(OBJECTIVES)


@pytest.mark.slow
@pytest.mark.parametrize("objective", tuple(OBJECTIVES))
def test_every_form_runs_with_an_objective_and_ends_above_chance(objective: str, digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    planned = [one for one in combinations(digits, tmp_path / "scratch") if one.objective == objective and "1" not in one.refusals]
    assert len(planned) >= len(tuple(FORMS)) - 1
    methods = [f"rat_bptt[form={one.form},objective={objective},{TINY[objective]},{STUDENT}]" for one in planned]
    settings = bench.settings(methods=methods, budgets=[1], seeds=1, students=2, no_reference=True, jobs=1)
    result = bench.run_sweep(settings, out=tmp_path / "out")
    found = {record.cell.label: record for record in result.records.values()}
    assert [record.reason for record in found.values() if record.status != "ok"] == []
    forms = {label: record.cell.fields["form"] for label, record in found.items()}
    accuracies = {forms[label]: sum(record.scores["final"]["test"]) / 2 for label, record in found.items()}
    assert min(accuracies.values()) > 2 * CHANCE, accuracies
    assert set(accuracies) >= {one.form for one in planned} - {"lowres", "subset"}  # at one image per class both are full images
