"""Separate images, their labels, and how whole images fit small budgets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, BudgetRequest, Spec, Task
from bench.decoders.images import Images, lowres_size
from bench.methods.forms.whole_images import plan_images
from bench.methods.random import Random, draw_images
from bench.nn.spaces import fit_space

SPEC = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


def budget(text: str):
    return BudgetRequest.parse(text).resolve(10, 8, 8)


@given(pixels=st.integers(1, 2000), height=st.integers(1, 40), width=st.integers(1, 40))
def test_small_images_keep_to_their_pixels(pixels, height, width):
    rows, columns = lowres_size(pixels, height, width)
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert rows * columns <= pixels or (rows, columns) == (height, width)


@pytest.mark.parametrize(
    ("pixels", "side", "expected"), [(512, 32, (22, 23)), (307, 32, (17, 18)), (19, 8, (4, 4)), (64, 8, (8, 8)), (0, 8, None)]
)
def test_lowres_sizes(pixels, side, expected):
    assert lowres_size(pixels, side, side) == expected


@pytest.mark.parametrize(
    ("form", "ipc", "plan"),
    [
        ("auto", "1", ("full", 10, (8, 8))),
        ("auto", "2.7", ("full", 20, (8, 8))),
        ("auto", "0.3", ("lowres", 10, (4, 4))),
        ("subset", "0.3", ("subset", 3, (8, 8))),
        ("subset", "1", ("full", 10, (8, 8))),
        ("lowres", "1", ("full", 10, (8, 8))),
    ],
)
def test_image_plans(form, ipc, plan):
    found = plan_images(form, SPEC, budget(ipc))
    assert (found.form, found.count, found.size) == plan
    assert found.adapted == ("" if plan[0] == "full" else plan[0])


@pytest.mark.parametrize(("form", "ipc"), [("full", "0.9"), ("subset", "0.09"), ("lowres", "9px")])
def test_budgets_without_room_have_no_plan(form, ipc):
    assert plan_images(form, SPEC, budget(ipc)) is None


def test_write_sorts_by_class_and_decode_gives_it_back():
    stored = Images(SPEC, 10)
    images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    stored.write(images, labels)
    batch = stored.decode()
    assert torch.equal(batch.images, images[labels.argsort()])
    assert torch.equal(batch.labels, torch.eye(10))
    assert stored.pixels == 640


def test_smaller_images_decode_to_full_size_and_keep_constants():
    stored = Images(SPEC, 10, (4, 4))
    stored.write(torch.full((10, 1, 8, 8), 0.25), torch.arange(10))
    assert stored.decode().images.shape == (10, 1, 8, 8)
    assert torch.allclose(stored.decode().images, torch.tensor(0.25))
    assert stored.pixels == 160


def test_ids_are_stored_as_labels_and_not_counted_as_pixels():
    stored = Images(SPEC, 3, labels="ids")
    stored.write(torch.zeros(3, 1, 8, 8), torch.tensor([7, 2, 5]))
    assert stored.decode().labels.argmax(1).tolist() == [2, 5, 7]
    assert stored.pixels == 192


def test_labels_by_order_need_the_same_number_of_every_class():
    with pytest.raises(BenchError, match="use labels ids or soft"):
        Images(SPEC, 12)
    with pytest.raises(ValueError, match="of every class"):
        Images(SPEC, 10).write(torch.zeros(10, 1, 8, 8), torch.zeros(10, dtype=torch.int64))


@pytest.mark.parametrize("form", ["lowres", "tiles", "subset", "mosaic", "auto"])
@pytest.mark.parametrize("ipc", ["0.3", "0.5", "1", "2.5"])
def test_every_random_form_stays_in_budget(digits, form, ipc):
    method = Random(images=form)
    granted = budget(ipc)
    assert method.refuses(digits.spec, granted) is None
    distilled = method.distill(Task(digits.spec, digits.train, granted, 0, form, lambda name: fit_space(name, digits.train)))
    images = distilled.parameterization.decode().images.detach()
    assert distilled.parameterization.pixels <= granted.pixels
    assert distilled.coordinates == "rgb"
    assert images.shape[1:] == digits.spec.shape
    assert 0.0 <= float(images.min()) <= float(images.max()) <= 1.0 + 1e-6


def test_random_images_are_training_images_of_the_right_class(digits):
    task = Task(digits.spec, digits.train, budget("2"), 0, "key", lambda name: fit_space(name, digits.train))
    labels = torch.arange(10).repeat_interleave(2)
    real = digits.train.unit_images()
    for image, label in zip(draw_images(task, labels), labels, strict=True):
        matches = (real == image).flatten(1).all(1)
        assert bool(matches.any())
        assert set(digits.train.labels[matches].tolist()) == {int(label)}


def test_the_mosaic_is_tiled_by_shrunk_images_of_every_class(digits):
    task = Task(digits.spec, digits.train, budget("1"), 0, "key", lambda name: fit_space(name, digits.train))
    poster = Random(images="mosaic").distill(task).parameterization.poster.detach()
    expected = draw_images(task, torch.arange(10))
    assert poster.shape == (1, 16, 40)
    assert torch.allclose(poster[:, :8, 8:16], expected[1], atol=1e-6)
    assert torch.allclose(poster[:, 8:, 32:], expected[9], atol=1e-6)


@pytest.mark.parametrize("patches", ["16", "16x", "sixteen", "0x6"])
def test_a_patch_grid_that_cannot_be_read_is_one_sentence(digits, patches):
    with pytest.raises(BenchError, match="random.patches is .*; write width x height"):
        Random(images="mosaic", patches=patches).refuses(digits.spec, budget("1"))
