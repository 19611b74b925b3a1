"""PoCO's placement, and where its class order comes from."""

from pathlib import Path

import pytest
import torch

from bench import BenchError, BudgetRequest, PlanContext
from bench.methods.forms._class_order import anti_diagonals, greedy_order
from bench.methods.podd import PoDD


def test_anti_diagonals_run_from_bottom_left_to_top_right():
    assert anti_diagonals(2, 5) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3), (0, 4), (1, 4)]
    assert anti_diagonals(3, 3) == [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 2), (2, 2)]


def test_greedy_order_puts_near_classes_beside_each_other():
    position = torch.tensor([0.0, 10.0, 1.0, 11.0])
    distance = (position[:, None] - position[None]).abs()
    # (0,0) = 0; (1,0) takes the nearest of it, 2; (0,1) the nearest of 0 among 1 and 3; (1,1) the rest
    assert greedy_order(distance, rows=2, columns=2) == [0, 1, 2, 3]


def test_ties_go_to_the_first_class():
    assert greedy_order(torch.ones(4, 4), rows=2, columns=2) == [0, 2, 1, 3]


def test_the_cost_of_a_cell_is_the_sum_over_its_neighbours():
    distance = torch.tensor([[0, 1, 2, 9], [1, 0, 9, 2], [2, 9, 0, 3], [9, 2, 3, 0]], dtype=torch.float)
    order = greedy_order(distance, rows=2, columns=2)
    assert sorted(order) == [0, 1, 2, 3]
    assert order[0] == 0
    assert order[2] == 1  # (1,0): nearest to 0


def context(digits, tmp_path: Path, budget: str = "1") -> PlanContext:
    return PlanContext(digits.spec, BudgetRequest.parse(budget).resolve(10, 8, 8), lambda: digits.train, digits.fingerprint(), tmp_path)


def test_auto_falls_back_to_features_and_says_so(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.methods.podd.clip_weights_at_hand", lambda *_: False)
    monkeypatch.setattr("bench.methods.prerequisites.class_distances._DISTANCES", {})
    resolution = PoDD().resolve(context(digits, tmp_path))
    assert sorted(map(int, resolution.method.order.split("-"))) == list(range(10))
    assert any("no CLIP weights" in note for note in resolution.notes)
    assert resolution.external == ""
    assert len(list(tmp_path.glob("class-distances-*.json"))) == 1


def test_order_clip_without_weights_says_what_to_do(digits, tmp_path):
    with pytest.raises(BenchError, match="order=clip needs CLIP weights .* or use order=features"):
        PoDD(order="clip", clip_weights=str(tmp_path / "none.pt")).resolve(context(digits, tmp_path))


@pytest.mark.parametrize("order", ["0-1-2", "sideways", "0-0-1-2-3-4-5-6-7-8"])
def test_unknown_orders_are_refused_with_the_choices(digits, tmp_path, order):
    with pytest.raises(BenchError, match="use auto, identity, random, features, clip"):
        PoDD(order=order).resolve(context(digits, tmp_path))
