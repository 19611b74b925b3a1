"""Stored forms: what a budget becomes, from a tenth of an image per class to fifty, and what is written into it."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from products import granted, plan, planned, task_for

from bench import FORMS as STORED_FORMS
from bench import BenchError, PlanContext, Refusal, Spec
from bench.decoders.poster_layout import PosterLayout
from bench.methods.forms._poster_size import class_grids, patch_count, patch_grid, plan_layout, poster_size
from bench.methods.selections.random import random as select_random

DIGITS = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)
CIFAR10 = Spec("cifar10", 10, (3, 32, 32), tuple("abcdefghij"))
BUDGETS = ("0.1", "0.2", "0.3", "0.5", "0.9", "1", "1.5", "2.5", "4", "4.5", "7.3", "10", "17.2", "50")
FORMS = ("full", "lowres", "subset", "tiles", "poster", "mosaic")
EXPLICIT = {"poster": {"order": "identity"}}


@pytest.mark.parametrize(
    ("form", "ipc", "expected"),
    [
        ("auto", "1", ("full", 10, [8, 8])),
        ("auto", "2.7", ("full", 20, [8, 8])),
        ("auto", "0.3", ("lowres", 10, [4, 4])),
        ("subset", "0.3", ("subset", 3, [8, 8])),
        ("subset", "1", ("full", 10, [8, 8])),
        ("lowres", "1", ("full", 10, [8, 8])),
        ("tiles", "1", ("tiles", 40, [4, 4])),
        ("tiles", "4", ("full", 40, [8, 8])),
        ("tiles", "10", ("full", 100, [8, 8])),
        ("tiles", "4.5", ("tiles", 50, [7, 8])),
    ],
)
def test_image_plans(form, ipc, expected):
    found = planned("random", DIGITS, ipc, {"form": form})
    assert (found.method.form.name, found.plan["images"], found.plan["geometry"]["size"]) == expected
    assert found.adapted == (expected[0] if expected[0] in ("lowres", "subset") else "")


@pytest.mark.parametrize(("form", "ipc"), [("full", "0.9"), ("subset", "0.09"), ("lowres", "9px"), ("tiles", "39px"), ("mosaic", "63px")])
def test_budgets_without_room_are_refused_with_the_pixels_that_are_needed(form, ipc):
    answer = plan("random", DIGITS, ipc, {"form": form})
    assert isinstance(answer, Refusal)
    assert "px" in answer.reason


@pytest.mark.parametrize("labels", ["fixed", "learned"])
@pytest.mark.parametrize("spec", [DIGITS, CIFAR10], ids=lambda spec: spec.name)
@pytest.mark.parametrize("ipc", BUDGETS)
@pytest.mark.parametrize("form", FORMS)
def test_a_form_uses_what_it_is_given_and_no_more(form, ipc, spec, labels):
    """Only whole images may leave a rest: less than one image per class above 1, a rounding of the aspect below."""
    answer = plan("rat_bptt", spec, ipc, {"form": form, "labels": labels, **EXPLICIT.get(form, {})})
    budget = granted(ipc, spec)
    if isinstance(answer, Refusal):
        assert budget.images_per_class == 0
        return
    stored = answer.method.form.empty(spec, _form_plan(answer))
    image_pixels, label_numbers = stored.pixels, sum(t.numel() for key, t in stored.state_dict().items() if stored.roles[key] == "label")
    room = budget.pixels_beside_labels(label_numbers, spec.channels)
    assert image_pixels <= room
    image = spec.height * spec.width
    name = answer.method.form.name
    if name in ("full", "subset"):
        assert budget.pixels - image_pixels < image * (spec.classes if name == "full" else 1)
    elif name in ("lowres", "tiles"):
        side = answer.plan["geometry"]["size"]
        assert room - image_pixels < len(stored) * (max(side) + 1) or side == [spec.height, spec.width]
    else:
        layout = stored.layout
        assert room - image_pixels < layout.size[0]  # not one more column fits
        assert _covered(layout).all()
    assert len(stored) == answer.plan["images"]


def _form_plan(resolution):
    from bench import FormPlan

    return FormPlan(resolution.method.form, resolution.plan["images"], resolution.plan["geometry"])


def _covered(layout: PosterLayout) -> torch.Tensor:
    seen = torch.zeros(layout.size, dtype=torch.bool)
    for y, x in layout.patches():
        seen[y : y + layout.patch[0], x : x + layout.patch[1]] = True
    return seen


def test_labels_beyond_the_free_ones_cost_a_form_pixels():
    """Four label cells per class store 4·C² numbers, of which C² are free at one image per class."""
    cheap = planned("podd", CIFAR10, "1", {"labels": "learned", "order": "identity"})
    dear = planned("podd", CIFAR10, "1", {"labels": "learned", "label_cells": 2, "order": "identity"})
    areas = [height * width for height, width in (found.plan["geometry"]["size"] for found in (cheap, dear))]
    assert areas[0] == 10_240
    assert 10_240 - 100 - 64 <= areas[1] <= 10_240 - 100
    tiles = planned("rat_bptt", CIFAR10, "1", {"form": "tiles", "labels": "learned"})
    assert tiles.plan["geometry"]["size"] == [15, 16]  # 4·10·10 label numbers, 100 free: 100 px of 10,240 pay for the rest


@given(classes=st.integers(2, 60), side=st.integers(4, 40), ipc=st.floats(0.02, 3.0), nx=st.integers(1, 30), ny=st.integers(1, 30))
def test_every_layout_keeps_the_budget_and_covers_itself_with_distinct_patches(classes, side, ipc, nx, ny):
    pixels = int(ipc * classes * side * side)
    layout = plan_layout(pixels, classes, (side, side), (nx, ny), (0.0, 0.0))
    if layout is None:
        assert all(poster_size(pixels, (side, side), grid) is None for grid in class_grids(classes))
        return
    height, width = layout.size
    patches = layout.patches()
    assert height * width <= pixels
    assert len(set(patches)) == len(patches)
    assert all(0 <= y <= height - side and 0 <= x <= width - side for y, x in patches)
    assert _covered(layout).all()


@given(window=st.integers(1, 40), more=st.integers(0, 300), overlap=st.floats(0.0, 0.95))
def test_neighbours_share_at_least_the_overlap(window, more, overlap):
    count = patch_count(window + more, window, overlap)
    if count > 1:
        assert more / (count - 1) <= window * (1.0 - overlap) + 1e-6
        assert count == 2 or more / (count - 2) > window * (1.0 - overlap) - 1e-6


@pytest.mark.parametrize(
    ("size", "side", "overlap", "grid"),
    [
        ((60, 153), 32, (0.747, 0.825), (16, 6)),
        ((303, 303), 32, (0.554, 0.554), (20, 20)),
        ((302, 610), 32, (0.693, 0.709), (60, 30)),
        ((608, 1211), 64, (0.54, 0.552), (40, 20)),
    ],
)
def test_the_recipes_densities_give_the_published_grids_on_the_published_posters(size, side, overlap, grid):
    assert patch_grid(size, (side, side), None, overlap) == grid


@pytest.mark.parametrize("ipc", ["0.3", "0.5", "1", "2.5"])
@pytest.mark.parametrize("form", ["lowres", "tiles", "subset", "mosaic", "auto"])
def test_every_random_form_stays_in_budget(digits, form, ipc):
    found = planned("random", digits.spec, ipc, {"form": form})
    made = found.method.distill(task_for(digits, found, ipc))
    images = made.parameterization.decode().images.detach()
    assert made.parameterization.pixels <= granted(ipc, digits.spec).pixels
    assert made.coordinates == "rgb"
    assert images.shape[1:] == digits.spec.shape
    assert 0.0 <= float(images.min()) <= float(images.max()) <= 1.0 + 1e-6


def test_random_images_are_different_training_images_of_the_right_class(digits):
    labels = torch.arange(10).repeat_interleave(3)
    chosen = select_random(None, digits.train.labels, labels, torch.Generator().manual_seed(0))
    assert torch.equal(digits.train.labels[chosen], labels)
    assert len(set(chosen.tolist())) == 30


def test_random_images_are_drawn_without_replacement():
    """As many as there are: each once, in an order that the generator decides."""
    labels, slots = torch.arange(40) % 2, torch.arange(2).repeat_interleave(20)
    draws = [select_random(None, labels, slots, torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    for chosen in draws:
        assert sorted(chosen[:20].tolist()) == list(range(0, 40, 2))
        assert sorted(chosen[20:].tolist()) == list(range(1, 40, 2))
    assert not torch.equal(*draws)


def test_nothing_comes_twice_more_often_than_another_comes_at_all():
    """Seven of three images: each twice, and one of them once more."""
    chosen = select_random(None, torch.zeros(3, dtype=torch.int64), torch.zeros(7, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert sorted(chosen.bincount().tolist()) == [2, 2, 3]
    assert [len(set(part.tolist())) for part in (chosen[:3], chosen[3:6])] == [3, 3]


def test_a_class_with_too_few_images_repeats_them():
    chosen = select_random(None, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 0, 1, 1]), torch.Generator().manual_seed(0))
    assert chosen[:3].tolist() == [0, 0, 0]
    assert set(chosen[3:].tolist()) == {1, 2}


def test_the_mosaic_is_tiled_by_shrunk_images_of_every_class(digits):
    found = planned("random", digits.spec, "1", {"form": "mosaic"})
    task = task_for(digits, found)
    poster = found.method.distill(task).parameterization.poster.detach()
    chosen = select_random(None, digits.train.labels, torch.arange(10), task.generator("selection"))
    expected = digits.train.unit_images(chosen)
    assert poster.shape == (1, 16, 40)
    assert torch.allclose(poster[:, :8, 8:16], expected[1], atol=1e-6)
    assert torch.allclose(poster[:, 8:, 32:], expected[9], atol=1e-6)


def test_a_subset_of_random_images_differs_between_seeds_and_one_that_is_learned_spreads_its_classes():
    drawn = {tuple(planned("random", CIFAR10, "0.5", {"form": "subset"}, seed=s).plan["geometry"]["classes"]) for s in range(5)}
    assert len(drawn) > 1
    assert all(len(set(classes)) == 5 for classes in drawn)
    learned = planned("rat_bptt", CIFAR10, "0.5", {"form": "subset"})
    assert learned.plan["geometry"]["classes"] == [0, 2, 4, 6, 8]
    assert learned.plan["geometry"]["labels"] == "soft"


def test_real_initial_images_stand_in_the_student_s_space_where_they_are_optimised(digits):
    from bench.nn.spaces import fit_space

    found = planned(
        "rat_bptt", digits.spec, "1", {"init": "real", "outer_iterations": 1, "outer_lr": 0.0, "real_batch": 8, "window": 1, "totwindow": 1}
    )
    task = task_for(digits, found)
    images = found.method.distill(task).parameterization.decode().images.detach()
    chosen = select_random(None, digits.train.labels, torch.arange(10), task.generator("selection"))
    assert torch.allclose(images, fit_space("standard", digits.train).transform(digits.train.unit_images(chosen)), atol=1e-6)


def test_noise_has_unit_norm_at_the_size_it_is_stored(digits):
    fields = {"outer_iterations": 1, "outer_lr": 0.0, "real_batch": 8, "window": 1, "totwindow": 1}
    found = planned("rat_bptt", digits.spec, "0.3", fields)
    images = found.method.distill(task_for(digits, found, "0.3")).parameterization.state_dict()["images"]
    assert images.shape == (10, 1, 4, 4)
    assert torch.allclose(images.flatten(1).norm(dim=1), torch.ones(10))


WIDE = Spec("wide", 4, (1, 6, 12), tuple("abcd"), mirror=False)


@pytest.mark.parametrize(
    ("form", "ipc", "images", "size"),
    [
        ("full", "1", 4, [6, 12]),
        ("lowres", "0.5", 4, [4, 9]),
        ("tiles", "1", 16, [3, 6]),
        ("subset", "0.5", 2, [6, 12]),
        ("lowres", "1", 4, [6, 12]),
    ],
)
def test_images_that_are_not_square_are_planned_and_stored_height_first(form, ipc, images, size):
    found = planned("random", WIDE, ipc, {"form": form, **({"tiles": 4} if form == "tiles" else {})})
    assert (found.plan["images"], found.plan["geometry"]["size"]) == (images, size)
    stored = found.method.form.empty(WIDE, _form_plan(found))
    assert stored.images.shape == (images, 1, *size)
    assert found.method.form.size(WIDE, _form_plan(found)) == tuple(size)
    assert stored.decode().images.shape == (images, 1, 6, 12)


@pytest.mark.parametrize("form", ["poster", "mosaic"])
def test_patches_of_images_that_are_not_square_are_as_high_and_wide_as_these(form):
    found = planned("rat_bptt", WIDE, "1", {"form": form, "patches": "5x3", **EXPLICIT.get(form, {})})
    stored = found.method.form.empty(WIDE, _form_plan(found))
    assert stored.layout.patch == (6, 12)
    assert stored.layout.patch_grid == (5, 3)
    assert stored.decode().images.shape == (15, 1, 6, 12)


def test_a_poster_of_images_that_are_not_square_is_sized_by_their_height_and_width():
    """86 px: two rows of areas would leave 9x9 px, narrower than a patch of 12x6; one row is as high as a patch."""
    geometry = planned("podd", WIDE, "0.3", {"order": "identity"}).plan["geometry"]
    assert (geometry["size"], geometry["class_grid"]) == ([6, 14], [4, 1])
    fixed = planned("podd", WIDE, "0.3", {"order": "identity", "poster": "13x6"}).plan["geometry"]
    assert (fixed["size"], fixed["patch_grid"]) == ([6, 13], [2, 1])
    refused = plan("podd", WIDE, "0.3", {"order": "identity", "poster": "6x13"})
    assert isinstance(refused, Refusal)
    assert "smaller than one patch of 12x6 px" in refused.reason


@pytest.mark.parametrize("patches", ["16", "16x", "sixteen", "0x6"])
def test_a_patch_grid_that_cannot_be_read_is_one_sentence(patches):
    with pytest.raises(BenchError, match="field 'patches' cannot be .*: write width x height"):
        plan("random", DIGITS, "1", {"form": "mosaic", "patches": patches})


@pytest.mark.parametrize("overlap", ["1", "-0.1x0.5", "half", "0.5x"])
def test_an_overlap_that_cannot_be_read_is_one_sentence(overlap):
    with pytest.raises(BenchError, match="field 'overlap' cannot be .*: write shares"):
        plan("podd", DIGITS, "1", {"overlap": overlap, "order": "identity"})


@pytest.mark.parametrize(
    ("poster", "sentence"), [("40x17", "has 680 px, the budget 1 leaves 640"), ("7x60", "smaller than one patch of 8x8")]
)
def test_a_fixed_poster_that_does_not_fit_is_refused(poster, sentence):
    answer = plan("podd", DIGITS, "1", {"poster": poster, "order": "identity"})
    assert isinstance(answer, Refusal)
    assert sentence in answer.reason


@pytest.mark.parametrize("labels", ["fixed", "learned"])
@pytest.mark.parametrize("pixels", [1000, 2561, 5000, 12_345])
def test_tiles_are_the_fewest_that_are_no_larger_than_full_images(labels, pixels):
    form = STORED_FORMS["tiles"](labels=labels, tiles=3)
    context = PlanContext(DIGITS, granted(f"{pixels}px", DIGITS))

    def each(tiles):
        return context.budget.pixels_beside_labels(tiles * 100 if labels == "learned" else 0, 1) // (10 * tiles)

    tiles = next(count for count in itertools.count(3) if each(count) <= 64)
    assert form.plan(context).images == tiles * 10


def test_a_huge_budget_of_tiles_is_planned_at_once():
    context = PlanContext(DIGITS, granted("1000000000000px", DIGITS))
    assert STORED_FORMS["tiles"]().plan(context).images == pytest.approx(10**12 / 64, rel=0.02)
