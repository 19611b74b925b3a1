"""PoCO's placement, and the sources of class similarity."""

import pytest
import torch
from products import planned
from registries import prerequisites_in

from bench import BenchError
from bench.methods.forms._class_order import anti_diagonals, greedy_order


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


def test_auto_falls_back_to_features_and_says_so(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.methods.forms.poster.clip_weights_at_hand", lambda *_: False)
    resolution = planned("podd", digits.spec, "1", find=prerequisites_in(tmp_path, digits))
    assert sorted(map(int, resolution.method.form.order.split("-"))) == list(range(10))
    assert any("no CLIP weights" in note for note in resolution.notes)
    assert resolution.external == ""
    assert resolution.needs == ()  # the order is in the plan, so distilling needs no distances


def test_feature_order_is_the_same_every_time_and_leaves_the_global_rng_alone(digits, tmp_path):
    before = torch.get_rng_state()
    orders = set()
    for folder in ("one", "other"):
        resolution = planned("podd", digits.spec, "1", {"order": "features"}, find=prerequisites_in(tmp_path / folder, digits))
        orders.add(resolution.method.form.order)
    assert len(orders) == 1
    assert orders != {"0-1-2-3-4-5-6-7-8-9"}
    assert torch.equal(before, torch.get_rng_state())


def test_feature_seeds_give_other_orders_and_one_row(digits, tmp_path):
    find, fields = prerequisites_in(tmp_path, digits), {"order": "features", "feature_seeds": 2}
    found = [planned("podd", digits.spec, "1", fields, seed=seed, find=find) for seed in range(3)]
    orders = [tuple(resolution.plan["geometry"]["order"]) for resolution in found]
    assert orders[0] == orders[2] != orders[1]
    assert {resolution.method.form.order for resolution in found} == {"features"}  # the fields name a row of the table


def test_a_random_order_is_drawn_for_each_seed(digits):
    orders = {tuple(planned("podd", digits.spec, "1", {"order": "random"}, seed=s).plan["geometry"]["order"]) for s in range(3)}
    assert len(orders) == 3


def test_order_clip_without_weights_says_what_to_do(digits, tmp_path):
    fields, find = {"order": "clip", "clip_weights": str(tmp_path / "none.pt")}, prerequisites_in(tmp_path, digits)
    with pytest.raises(BenchError, match="order=clip needs CLIP weights .* or use order=features"):
        planned("podd", digits.spec, "1", fields, find=find)


@pytest.mark.parametrize("order", ["0-1-2", "sideways", "0-0-1-2-3-4-5-6-7-8"])
def test_unknown_orders_are_refused_with_the_choices(digits, order):
    with pytest.raises(BenchError, match="auto, identity, random, features, clip"):
        planned("podd", digits.spec, "1", {"order": order})
