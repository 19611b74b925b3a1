"""PoCO's placement, and the sources of class similarity."""

from pathlib import Path

import pytest
import torch

from bench import BenchError, BudgetRequest, PlanContext
from bench.methods.forms._class_order import anti_diagonals, cosine_distance, greedy_order
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


def test_cosine_distance_of_parallel_and_orthogonal_vectors():
    distance = cosine_distance(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    assert torch.allclose(distance, torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.float64))


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


def test_feature_order_is_the_same_every_time_and_leaves_the_global_rng_alone(digits, tmp_path, monkeypatch):
    before = torch.get_rng_state()
    orders = []
    for _ in range(2):
        monkeypatch.setattr("bench.methods.prerequisites.class_distances._DISTANCES", {})
        orders.append(PoDD(order="features").resolve(context(digits, tmp_path / "absent")).method.order)
    assert orders[0] == orders[1] != "0-1-2-3-4-5-6-7-8-9"
    assert torch.equal(before, torch.get_rng_state())


def test_order_clip_without_weights_says_what_to_do(digits, tmp_path):
    with pytest.raises(BenchError, match="order=clip needs CLIP weights .* or use order=features"):
        PoDD(order="clip", clip_weights=str(tmp_path / "none.pt")).resolve(context(digits, tmp_path))


def test_order_clip_with_a_local_checkpoint(digits, tmp_path):
    """A tiny CLIP with random weights: the order comes from its text embeddings and is marked external."""
    open_clip = pytest.importorskip("open_clip")
    import json

    (tmp_path / "tiny-clip-test.json").write_text(
        json.dumps(
            {
                "embed_dim": 16,
                "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
                "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
            }
        )
    )
    open_clip.add_model_config(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = open_clip.create_model("tiny-clip-test")
    torch.save(model.state_dict(), tmp_path / "tiny.pt")
    before = torch.get_rng_state()
    resolution = PoDD(order="clip", clip_model="tiny-clip-test", clip_weights=str(tmp_path / "tiny.pt")).resolve(context(digits, tmp_path))
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        prompts = [f"a photo of a {name}" for name in digits.spec.class_names]
        expected = model.eval().encode_text(open_clip.get_tokenizer("tiny-clip-test")(prompts))
    assert resolution.method.order == "-".join(map(str, greedy_order(cosine_distance(expected), rows=2, columns=5)))
    assert resolution.external == "CLIP text embeddings"


@pytest.mark.parametrize("order", ["0-1-2", "sideways", "0-0-1-2-3-4-5-6-7-8"])
def test_unknown_orders_are_refused_with_the_choices(digits, tmp_path, order):
    with pytest.raises(BenchError, match="use auto, identity, random, features, clip"):
        PoDD(order=order).resolve(context(digits, tmp_path))
