"""PoCO's placement, and the sources of class similarity."""

import re

import pytest
import torch
from products import granted, planned
from registries import prerequisites_in

from bench import FORMS, BenchError, Dataset, PlanContext, Spec, Split
from bench.methods.forms._class_order import anti_diagonals, greedy_order, neighbour_similarity, similarity_table
from bench.methods.prerequisites._clip import CLIP_MODEL, clip_weights_at_hand
from bench.methods.prerequisites.class_distances import distances_by_features


def test_anti_diagonals_run_from_bottom_left_to_top_right():
    assert anti_diagonals(2, 5) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3), (0, 4), (1, 4)]
    assert anti_diagonals(3, 3) == [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 2), (2, 2)]


def test_greedy_order_puts_near_classes_beside_each_other():
    position = torch.tensor([0.0, 10.0, 1.0, 11.0])
    distance = (position[:, None] - position[None]).abs()
    # (0,0) = 0; (1,0) takes the nearest of it, 2; (0,1) the nearest of 0 among 1 and 3; (1,1) the rest
    assert greedy_order(distance, rows=2, columns=2) == [0, 1, 2, 3]


#: airplane ship dog horse deer / automobile truck cat bird frog, seen in 38 runs of the authors' code.
OFFICIAL = [0, 8, 5, 7, 4, 1, 9, 3, 2, 6]


def test_synthetic_distances_lead_to_the_order_of_the_authors_on_cifar10():
    """Not CLIP's distances: made up so that every class is nearest to the one that is placed before it."""
    visited = [OFFICIAL[row * 5 + column] for row, column in anti_diagonals(2, 5)]
    place = torch.tensor([float(visited.index(c)) for c in range(10)])
    assert greedy_order((place[:, None] - place[None]).abs(), rows=2, columns=5) == OFFICIAL


@pytest.mark.skipif(not clip_weights_at_hand(CLIP_MODEL, "openai"), reason="OpenAI's CLIP weights are not in open_clip's cache")
def test_openai_s_weights_lead_to_the_order_of_the_authors_on_cifar10(tmp_path):
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    spec = Spec("cifar10", 10, (3, 32, 32), names)
    images = torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    train = Split(images, torch.arange(10))
    find = prerequisites_in(tmp_path, Dataset(spec, train, lambda: train))
    assert planned("podd", spec, "0.9", {"order": "clip"}, recipes=True, find=find).plan["geometry"]["order"] == OFFICIAL


def test_the_similarity_of_neighbours_is_their_mean():
    distance = torch.tensor([[0.0, 0.1, 0.2, 0.9], [0.1, 0.0, 0.9, 0.4], [0.2, 0.9, 0.0, 0.5], [0.9, 0.4, 0.5, 0.0]], dtype=torch.float64)
    # 0 1    beside: 0-1, 2-3; below: 0-2, 1-3
    # 2 3
    assert neighbour_similarity(distance, [0, 1, 2, 3], 2, 2) == pytest.approx(1 - (0.1 + 0.5 + 0.2 + 0.4) / 4)
    assert neighbour_similarity(distance, [0, 3, 1, 2], 1, 4) == pytest.approx(1 - (0.9 + 0.4 + 0.9) / 3)
    assert neighbour_similarity(torch.zeros(1, 1), [0], 1, 1) == 0.0


def test_the_table_of_orders_puts_the_greedy_one_above_chance_and_the_reversed_one_below():
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(20, 3, generator=generator)
    distance = torch.cdist(places, places).double()
    found = similarity_table(distance, rows=4, columns=5)
    assert list(found) == ["greedy", "identity", "random", "reversed"]
    assert found["greedy"] > found["random"] > found["reversed"]
    assert found["identity"] == pytest.approx(found["random"], abs=0.5)
    assert found == similarity_table(distance, rows=4, columns=5)


def test_a_plan_by_distances_says_how_alike_neighbours_are_in_every_order(digits, tmp_path):
    resolution = planned("podd", digits.spec, "1", {"order": "features"}, find=prerequisites_in(tmp_path, digits))
    [note] = [note for note in resolution.notes if "similarity" in note]
    assert re.fullmatch(r"mean similarity of neighbours on the 5x2 class grid: greedy \S+, identity \S+, random \S+, reversed \S+", note)


def test_how_clip_was_asked_is_noted_and_leaves_no_trace_in_the_fields(digits, tmp_path, monkeypatch):
    """Two ways of asking that come to one order are one cell."""
    monkeypatch.setattr("bench.methods.forms.poster.distances_by_clip", lambda *_: distances_by_features(0))
    fields = {"order": "clip", "clip_prompt": "the digit {}", "clip_embedding": "hidden_states", "clip_names": "0=zero"}
    find = prerequisites_in(tmp_path, digits)
    asked, plain = (planned("podd", digits.spec, "1", given, find=find) for given in (fields, {"order": "clip"}))
    assert "class order from clip (ViT-B-32-quickgelu, prompt 'the digit {}', hidden states, 0=zero)" in asked.notes
    assert asked.external == "CLIP text embeddings"
    assert asked.method.values() == plain.method.values()
    assert {"clip_prompt", "clip_embedding", "clip_names"} <= asked.method.unkeyed_fields()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [("clip_prompt", "no name", "stands for the name of a class"), ("clip_names", "ship", "write class=words, joined by commas")],
)
def test_unreadable_ways_of_asking_clip_are_refused(digits, field, value, problem):
    with pytest.raises(BenchError, match=problem):
        planned("podd", digits.spec, "1", {"order": "identity", field: value})


@pytest.mark.parametrize(("download", "order"), [(True, "clip"), (False, "clip"), (True, "auto")])
def test_weights_are_fetched_only_where_that_is_allowed_and_clip_was_asked_for(digits, tmp_path, monkeypatch, download, order):
    fetched = []
    monkeypatch.setattr("bench.methods.forms.poster.clip_weights_at_hand", lambda *_: bool(fetched))
    monkeypatch.setattr("bench.methods.forms.poster.download_clip_weights", lambda *what: fetched.append(what))
    monkeypatch.setattr("bench.methods.forms.poster.distances_by_clip", lambda *_: distances_by_features(0))
    context = PlanContext(digits.spec, granted("1", digits.spec), find=prerequisites_in(tmp_path, digits), download=download)
    FORMS["poster"](order=order).plan(context)
    assert fetched == ([(CLIP_MODEL, "openai")] if download and order == "clip" else [])


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
