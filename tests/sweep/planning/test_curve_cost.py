"""Which cells are scored on val on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import METHODS, BenchError, Resolution
from bench.nn.networks import build_network, flops_per_image
from bench.sweep.planning.curve_cost import _START_FLOPS, curve_flops, wants_curve
from bench.sweep.planning.estimate import judge_flops
from bench.sweep.planning.plan import Plan, PlannedCell

PRESENTED = 100


@pytest.fixture
def costing(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[PlannedCell, Plan]]:
    """Return a function that plans a toy whose recipe takes so many operations."""

    def plan(flops: float | None, **changes: object) -> tuple[PlannedCell, Plan]:
        resolution = {"outer_steps": 4, "flops": flops, "presented_examples": PRESENTED}
        monkeypatch.setattr(METHODS["toy_mean"], "plan", lambda self, context: Resolution(self, **resolution))
        found = make(students=3, **changes)
        return found.cells[0], found

    return plan


def test_a_curve_trains_two_students_at_each_of_its_points(costing: Callable[..., tuple[PlannedCell, Plan]]) -> None:
    cell, plan = costing(0.0)
    dataset = plan.datasets["toy"]
    each = flops_per_image(build_network(cell.cell.network, dataset.spec), dataset.spec)
    expected = _START_FLOPS + 4 * 2 * each * (3 * PRESENTED + len(dataset.val or ()))
    assert curve_flops(dataset, plan.protocol, cell.cell.network, PRESENTED, outer_steps=4) == expected


@pytest.mark.parametrize(("factor", "wanted"), [(1.01, True), (0.99, False)])
def test_by_itself_it_may_cost_a_tenth_of_the_cell(costing: Callable[..., tuple[PlannedCell, Plan]], factor: float, wanted: bool) -> None:
    cell, plan = costing(0.0)
    dataset = plan.datasets["toy"]
    curve = curve_flops(dataset, plan.protocol, cell.cell.network, PRESENTED, 4)
    rest = judge_flops(dataset, plan.protocol, cell.cell.network, PRESENTED)
    cell, plan = costing(factor * 10 * curve - rest)
    assert wants_curve(cell, plan, "auto") is wanted
    assert wants_curve(cell, plan, "on")
    assert not wants_curve(cell, plan, "off")


def test_a_method_that_does_not_count_its_arithmetic_has_one_only_where_it_is_asked_for(
    costing: Callable[..., tuple[PlannedCell, Plan]],
) -> None:
    cell, plan = costing(None)
    assert [wants_curve(cell, plan, asked) for asked in ("auto", "on", "off")] == [False, True, False]


def test_without_val_there_is_none_and_asking_for_it_is_an_error(costing: Callable[..., tuple[PlannedCell, Plan]]) -> None:
    cell, plan = costing(1e30, split="paper")
    assert not wants_curve(cell, plan, "auto")
    with pytest.raises(BenchError, match="split paper has no val images; use --split dev, or --curve auto"):
        costing(1e30, split="paper", curve="on")


def test_the_key_of_a_cell_does_not_depend_on_it(make: Callable[..., Plan]) -> None:
    keys = {(plan.cells[0].key, plan.cells[0].distil_key) for plan in (make(curve="on"), make(curve="off"), make())}
    assert len(keys) == 1
