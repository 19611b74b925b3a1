"""Separate images, their labels, and how whole images fit small budgets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, Spec
from bench.decoders.images import Images, lowres_size

SPEC = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


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
    ("pixels", "height", "width", "expected"),
    [
        (50, 10, 20, (5, 10)),
        (50, 20, 10, (10, 5)),
        (1, 10, 20, (1, 1)),
        (199, 10, 20, (9, 20)),
        (200, 10, 20, (10, 20)),
        (9, 1, 100, (1, 9)),
    ],
)
def test_small_images_keep_the_aspect_of_images_that_are_not_square(pixels, height, width, expected):
    assert lowres_size(pixels, height, width) == expected


def test_images_that_are_not_square_are_shrunk_and_shown_the_right_way_round():
    wide = Spec("wide", 2, (1, 4, 8), ("a", "b"))
    stored = Images(wide, 2, (2, 4))
    columns = torch.arange(8.0).expand(2, 1, 4, 8)
    stored.write(columns, torch.tensor([0, 1]))
    again = Images.from_config(stored.config(), wide)
    again.load_state_dict(stored.state_dict())
    shown = again.decode().images.detach()
    assert shown.shape == (2, 1, 4, 8)
    assert torch.allclose(shown[0, 0], shown[0, 0, :1].expand(4, 8))  # every row alike
    assert (shown[0, 0, 0].diff() >= 0).all()
    assert float(shown[0, 0, 0, -1] - shown[0, 0, 0, 0]) > 4.0


@pytest.mark.parametrize("size", [None, (4, 8), (2, 4), (8, 4)])
def test_images_of_any_size_are_shown_at_that_of_the_data_set(size):
    stored = Images(Spec("wide", 2, (1, 4, 8), ("a", "b")), 2, size)
    assert stored.images.shape == (2, 1, *(size or (4, 8)))
    assert stored.decode().images.shape == (2, 1, 4, 8)


def test_chosen_images_come_with_their_own_labels():
    stored = Images(SPEC, 20, (4, 4))
    stored.write(torch.arange(20.0).view(20, 1, 1, 1).expand(20, 1, 8, 8), torch.arange(20) // 2)
    batch = stored.decode(torch.tensor([19, 2]))
    assert batch.images.detach()[:, 0, 0, 0].tolist() == pytest.approx([19.0, 2.0])
    assert batch.labels.argmax(1).tolist() == [9, 1]


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


@pytest.mark.parametrize(("count", "classes"), [(20, [c for c in range(10) for _ in range(2)]), (5, [0, 2, 4, 6, 8]), (3, [0, 3, 6])])
def test_slots_are_the_same_number_of_every_class_or_evenly_spread_ones(count, classes):
    assert Images(SPEC, count, labels="soft").slots().tolist() == classes


def test_projecting_keeps_targets_non_negative_and_leaves_pixels_alone():
    stored = Images(SPEC, 10, labels="soft")
    with torch.no_grad():
        for tensor in stored.trained().values():
            tensor.fill_(-1.0)
    stored.project()
    batch = stored.decode()
    assert float(batch.labels.detach().max()) == 0.0
    assert float(batch.images.detach().max()) == -1.0
