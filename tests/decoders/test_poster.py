"""Posters: geometry against published vectors, patches and labels against plain loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, BudgetRequest, Spec
from bench.decoders.poster import Poster
from bench.decoders.poster_blend import blend, fade, tiled_area
from bench.decoders.poster_layout import PosterLayout, starts
from bench.methods.forms._poster_size import class_grids, plan_layout
from bench.seeding import stream

CIFAR10 = Spec("cifar10", 10, (3, 32, 32), tuple("abcdefghij"))
ANY = (0.0, 0.0)  # overlap, which counts where no patch grid is given
DIGITS = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


def cifar_poster(pixels: int = 9180, labels: str = "fixed", order=range(10), **options) -> Poster:
    return Poster(CIFAR10, plan_layout(pixels, 10, (32, 32), (16, 6), ANY), list(order), labels, **options)


@pytest.mark.parametrize(
    ("field", "window", "count", "expected"),
    [
        (153, 32, 16, [0, 8, 16, 24, 32, 40, 48, 56, 65, 73, 81, 89, 97, 105, 113, 121]),
        (60, 32, 6, [0, 6, 11, 17, 22, 28]),
        (153, 32, 5, [0, 30, 60, 91, 121]),
        (60, 32, 2, [0, 28]),
        (87, 32, 16, [0, 4, 7, 11, 15, 18, 22, 26, 29, 33, 37, 40, 44, 48, 51, 55]),
        (35, 32, 6, [0, 1, 1, 2, 2, 3]),
        (160, 32, 16, [0, 9, 17, 26, 34, 43, 51, 60, 68, 77, 85, 94, 102, 111, 119, 128]),
        (64, 32, 6, [0, 6, 13, 19, 26, 32]),
        (303, 32, 20, [0, 14, 29, 43, 57, 71, 86, 100, 114, 128, 143, 157, 171, 185, 200, 214, 228, 242, 257, 271]),
        (303, 32, 10, [0, 30, 60, 90, 120, 151, 181, 211, 241, 271]),
        (608, 64, 10, [0, 60, 121, 181, 242, 302, 363, 423, 484, 544]),
        (32, 32, 1, [0]),
    ],
)
def test_starts_are_the_published_ones(field, window, count, expected):
    assert starts(field, window, count) == expected


@pytest.mark.parametrize(
    ("ipc", "width", "height", "patches"),
    [
        ("0.1", 32, 32, 1),
        ("0.2", 64, 32, 16),
        ("0.3", 87, 35, 64),
        ("0.4", 102, 40, 96),
        ("0.5", 113, 45, 96),
        ("0.6", 125, 49, 96),
        ("0.7", 135, 53, 96),
        ("0.8", 143, 57, 96),
        ("0.9", 153, 60, 96),
        ("1", 160, 64, 96),
    ],
)
def test_cifar10_posters_follow_the_size_rule(ipc, width, height, patches):
    layout = plan_layout(BudgetRequest.parse(ipc).resolve(10, 32, 32).pixels, 10, (32, 32), (16, 6), ANY)
    assert (layout.size, len(layout.patches())) == ((height, width), patches)


@pytest.mark.parametrize(
    ("pixels", "classes", "side", "grid", "expected"),
    [
        (92160, 100, 32, (20, 20), (303, 304)),
        (184320, 200, 32, (60, 30), (303, 608)),
        (737280, 200, 64, (40, 20), (607, 1214)),
        (40960, 100, 32, (20, 20), (202, 202)),
    ],
)
def test_size_rule_on_the_other_data_sets(pixels, classes, side, grid, expected):
    assert plan_layout(pixels, classes, (side, side), grid, ANY).size == expected


@pytest.mark.parametrize(("width", "height", "pixels"), [(153, 60, 9180), (303, 303, 91809), (610, 302, 184220), (1211, 608, 736288)])
def test_published_posters_hold_the_published_pixels(width, height, pixels):
    side = 64 if width == 1211 else 32
    spec = Spec("published", 10, (3, side, side), tuple("abcdefghij"))
    layout = plan_layout(pixels, 10, (side, side), (16, 6), ANY, size=(height, width))
    poster = Poster(spec, layout, range(10))
    assert poster.pixels == pixels == width * height


def test_digits_at_three_tenths_get_one_row_of_classes():
    layout = plan_layout(192, 10, (8, 8), (16, 6), ANY)
    assert layout.class_grid == (10, 1)
    assert layout.size == (8, 24)
    assert layout.distinct_areas() == 10


@pytest.mark.parametrize(
    ("size", "patch", "class_grid", "area", "images"),
    [((6, 14), (6, 12), (4, 1), (6, 12), (1, 1)), ((10, 40), (4, 8), (3, 2), (5, 14), (1, 2)), ((40, 10), (8, 4), (2, 3), (14, 5), (2, 1))],
)
def test_areas_are_as_large_as_patches_or_leave_no_gap(size, patch, class_grid, area, images):
    layout = PosterLayout(size, patch, (1, 1), class_grid)
    assert (layout.area, layout.images_per_area) == (area, images)


@pytest.mark.parametrize("size", [(3, 9), (9, 7), (7, 4)])
def test_a_poster_is_at_least_as_high_and_as_wide_as_a_patch(size):
    assert PosterLayout((4, 8), (4, 8), (1, 1), (1, 1)).patches() == [(0, 0)]
    with pytest.raises(BenchError, match=f"a poster of {size[1]}x{size[0]} px is smaller than one patch of 8x4 px"):
        PosterLayout(size, (4, 8), (1, 1), (1, 1))


def test_class_grids_are_wide_and_squarest_first():
    assert class_grids(10) == [(5, 2), (10, 1)]
    assert class_grids(100)[0] == (10, 10)
    assert class_grids(200)[0] == (20, 10)
    assert class_grids(7) == [(7, 1)]


def test_decode_cuts_the_same_patches_as_slicing():
    poster = cifar_poster()
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=stream("poster")))
    sliced = torch.stack([poster.poster[:, y : y + 32, x : x + 32] for x in starts(153, 32, 16) for y in starts(60, 32, 6)])
    assert torch.equal(poster.decode().images, sliced)
    index = torch.tensor([5, 90, 5])
    assert torch.equal(poster.decode(index).images, sliced[index])


def test_poster_gradient_adds_up_over_overlapping_patches():
    poster = cifar_poster(3072).double()
    weights = torch.randn(len(poster), 3, 32, 32, generator=stream("weights"), dtype=torch.float64)
    (found,) = torch.autograd.grad((poster.decode().images * weights).sum(), poster.poster)
    expected = torch.zeros_like(found)
    for weight, (y, x) in zip(weights, poster.layout.patches(), strict=True):
        expected[:, y : y + 32, x : x + 32] += weight
    assert torch.allclose(found, expected, rtol=1e-12)


def test_fixed_labels_are_one_hot_with_the_published_histogram():
    poster = cifar_poster()
    labels = poster.decode().labels
    assert float(labels.max(1).values.min()) > 0.999
    column_major = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]
    assert [int((labels.argmax(1) == c).sum()) for c in column_major] == [6, 6, 12, 12, 12, 12, 12, 12, 6, 6]


def test_an_eighth_of_the_fixed_labels_are_ties_at_three_tenths():
    labels = cifar_poster(3072).decode().labels
    tied = labels.max(1).values < 0.999
    assert float(tied.float().mean()) == pytest.approx(0.125)
    assert torch.allclose(labels[tied].max(1).values, torch.tensor(0.5))


def test_proportional_labels_count_pixels_per_class():
    poster = cifar_poster(labels="proportional")
    labels = poster.decode().labels
    expected = torch.zeros(96, 10)
    areas = [(y, x) for y in (0, 28) for x in (0, 30, 60, 91, 121)]
    for k, (y, x) in enumerate(poster.layout.patches()):
        for c, (top, left) in enumerate(areas):
            rows = set(range(y, y + 32)) & set(range(top, top + 32))
            columns = set(range(x, x + 32)) & set(range(left, left + 32))
            expected[k, c] = len(rows) * len(columns)
    assert torch.allclose(labels, expected / expected.sum(1, keepdim=True), atol=1e-6)
    assert float(labels.max(1).values.mean()) == pytest.approx(0.54, abs=0.005)


def test_learned_labels_start_one_hot_with_a_cell_for_every_class():
    layout = PosterLayout((303, 303), (32, 32), (20, 20), (10, 10))
    spec = Spec("cifar100", 100, (3, 32, 32), tuple(map(str, range(100))))
    poster = Poster(spec, layout, range(100), "learned")
    assert poster.label_array.shape == (100, 10, 10)
    assert poster.label_array.sum((1, 2)).min() >= 1
    assert set(poster.decode().labels.argmax(1).tolist()) == set(range(100))


def test_learned_labels_read_the_crop_under_the_patch():
    poster = cifar_poster(labels="learned", label_cells=3)
    with torch.no_grad():
        poster.label_array.copy_(torch.rand(poster.label_array.shape, generator=stream("labels")))
    rows, columns = 6, 15
    height, width = max(1, 32 * rows // 60), max(1, 32 * columns // 153)
    xs, ys = starts(columns, width, 16), starts(rows, height, 6)
    found = poster.decode().labels
    for k, (x, y) in enumerate((x, y) for x in xs for y in ys):
        mass = poster.label_array[:, y : y + height, x : x + width].sum((1, 2))
        assert torch.allclose(found[k], mass / mass.sum(), atol=1e-6)


def test_learned_labels_are_one_hot_at_first_in_the_cell_of_their_class():
    """Three columns and two rows of classes: the array is read row after row, as the order is."""
    spec = Spec("six", 6, (1, 4, 4), tuple("abcdef"))
    poster = Poster(spec, PosterLayout((8, 12), (4, 4), (3, 2), (3, 2)), [3, 5, 0, 1, 4, 2], "learned", label_cells=2)
    assert poster.label_array.argmax(0)[::2, ::2].tolist() == [[3, 5, 0], [1, 4, 2]]
    assert poster.label_array.argmax(0)[1::2, 1::2].tolist() == [[3, 5, 0], [1, 4, 2]]
    assert poster.label_array.sum(0).tolist() == [[1.0] * 6] * 4


def test_the_crop_of_learned_labels_has_the_shape_of_a_patch():
    """8 rows and 12 columns of cells under 10x23 px: a patch of 4x8 px covers 3 of the rows and 4 of the columns."""
    spec = Spec("wide", 6, (1, 4, 8), tuple("abcdef"))
    poster = Poster(spec, PosterLayout((10, 23), (4, 8), (5, 3), (3, 2)), range(6), "learned", label_cells=4)
    with torch.no_grad():
        poster.label_array.copy_(torch.rand(poster.label_array.shape, generator=stream("labels")))
    corners = [(y, x) for x in starts(12, 4, 5) for y in starts(8, 3, 3)]
    mass = torch.stack([poster.label_array[:, y : y + 3, x : x + 4].sum((1, 2)) for y, x in corners])
    assert torch.allclose(poster.decode().labels, mass / mass.sum(1, keepdim=True), atol=1e-6)


def test_every_pixel_belongs_to_the_nearest_area():
    spec = Spec("four", 4, (1, 8, 8), tuple("abcd"))
    poster = Poster(spec, PosterLayout((16, 16), (8, 8), (2, 2), (2, 2)), [2, 0, 3, 1])
    assert poster.class_map().tolist() == [[2] * 8 + [0] * 8] * 8 + [[3] * 8 + [1] * 8] * 8


def test_labels_clipped_to_zero_become_uniform():
    poster = cifar_poster(labels="learned")
    with torch.no_grad():
        poster.label_array.zero_()
    assert torch.allclose(poster.decode().labels, torch.full((96, 10), 0.1))


def test_order_moves_labels_and_class_map_together():
    order = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    poster = cifar_poster(order=order)
    patches = poster.layout.patches()
    assert int(poster.decode().labels[patches.index((0, 0))].argmax()) == 9
    assert int(poster.class_map()[0, 0]) == 9
    assert int(poster.class_map()[-1, -1]) == 0


#: Not its own inverse: cell 0 holds class 2, class 0 lies in cell 1.
TURNED = [2, 0, 1]


def turned_poster(labels: str = "fixed") -> Poster:
    """Return a poster of three areas side by side, none overlapping, each the size of a patch."""
    spec = Spec("three", 3, (1, 4, 4), ("a", "b", "c"))
    return Poster(spec, PosterLayout((4, 12), (4, 4), (3, 1), (3, 1)), TURNED, labels)


@pytest.mark.parametrize("labels", ["fixed", "proportional", "learned"])
def test_the_class_of_a_cell_is_the_order_s_entry_and_not_its_place(labels):
    assert turned_poster(labels).decode().labels.argmax(1).tolist() == TURNED


def test_the_class_map_and_the_areas_follow_the_order():
    poster = turned_poster()
    assert poster.class_map()[0].tolist() == [2] * 4 + [0] * 4 + [1] * 4
    assert poster.area_counts().tolist() == [[0.0, 0.0, 16.0], [16.0, 0.0, 0.0], [0.0, 16.0, 0.0]]


def test_the_image_of_a_class_is_written_where_its_label_is_read():
    poster = turned_poster()
    images = torch.tensor([30.0, 10.0, 20.0]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    poster.write(images, torch.tensor([2, 0, 1]))  # class 0 is 10, class 1 is 20, class 2 is 30
    assert poster.poster.detach()[0, 0, ::4].tolist() == [30.0, 10.0, 20.0]
    batch = poster.decode()
    assert batch.images.detach()[:, 0, 0, 0].tolist() == [10.0 * (int(label) + 1) for label in batch.labels.argmax(1)]


def test_a_poster_of_images_that_are_not_square_comes_back_from_its_config():
    spec = Spec("wide", 6, (1, 4, 8), tuple("abcdef"))
    poster = Poster(spec, PosterLayout((10, 23), (4, 8), (5, 3), (3, 2)), [3, 5, 0, 1, 4, 2], "proportional")
    poster.write(torch.randn(6, 1, 4, 8, generator=stream("wide")), torch.arange(6))
    again = Poster.from_config(poster.config(), spec)
    again.load_state_dict(poster.state_dict())
    assert again.decode().images.shape == (15, 1, 4, 8)
    assert torch.equal(again.decode().images, poster.decode().images)
    sliced = torch.stack([poster.poster[:, y : y + 4, x : x + 8] for x in starts(23, 8, 5) for y in starts(10, 4, 3)])
    assert torch.equal(poster.decode().images, sliced)


def test_an_order_that_is_no_permutation_is_refused():
    with pytest.raises(BenchError, match="each of the 10 classes once"):
        cifar_poster(order=[0] * 10)


@given(columns=st.integers(1, 6), rows=st.integers(1, 6), height=st.integers(4, 30), width=st.integers(4, 30))
def test_blending_constant_areas_gives_a_constant_poster(columns, rows, height, width):
    height, width = min(height, 4 * rows), min(width, 4 * columns)
    layout = PosterLayout((height, width), (4, 4), (1, 1), (columns, rows))
    poster = blend(torch.full((columns * rows, 2, 4, 4), 3.0), layout)
    assert poster.shape == (2, height, width)
    assert torch.allclose(poster, torch.full_like(poster, 3.0), atol=1e-5)


def test_tall_class_grids_keep_their_last_row():
    areas = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 4, 4)
    poster = blend(areas, PosterLayout((12, 8), (4, 4), (1, 1), (2, 3)))
    assert poster[0, :, 0].tolist() == [0.0] * 4 + [2.0] * 4 + [4.0] * 4


def test_fade_ramps_over_the_overlap():
    left, right = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    assert fade([left, right], [0, 1], 5, dim=2).flatten().tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert fade([left, right], [0, 2], 6, dim=2).flatten().tolist() == [0, 0, 0, 1, 1, 1]
    assert fade([left, right], [0, 3], 7, dim=2).flatten().tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_config_round_trip_rebuilds_the_same_decoder():
    poster = cifar_poster(3072, "learned", order=[3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    again = Poster.from_config(poster.config(), CIFAR10)
    again.load_state_dict(poster.state_dict())
    assert torch.equal(again.decode().images, poster.decode().images)
    assert torch.equal(again.decode().labels, poster.decode().labels)
    assert again.class_map().equal(poster.class_map())


@pytest.mark.parametrize(("ipc", "images"), [(2.5, (2, 2)), (10, (3, 3)), (50, (7, 7))])
def test_above_one_image_per_class_areas_leave_no_gap_and_every_patch_has_a_class(ipc, images):
    layout = plan_layout(int(ipc * 640), 10, (8, 8), None, (0.0, 0.0))
    poster = Poster(DIGITS, layout, [3, 1, 4, 0, 5, 9, 2, 6, 8, 7], "proportional")
    assert layout.images_per_area == images
    labels = poster.slots()
    assert len(labels) == 10 * images[0] * images[1]
    poster.write(torch.ones(len(labels), 1, 8, 8), labels)
    assert torch.allclose(poster.poster.detach(), torch.ones(()), atol=1e-5)
    counts = poster.area_counts()
    assert bool((counts.sum(1) >= 64).all())  # a patch has 64 pixels, and neighbouring areas may overlap
    assert set(counts.argmax(1).tolist()) == set(range(10))


def test_area_counts_above_one_image_per_class_against_plain_loops():
    layout = PosterLayout((10, 13), (4, 4), (5, 3), (2, 1))
    poster = Poster(Spec("two", 2, (1, 4, 4), ("a", "b")), layout, [1, 0], "proportional")
    assert layout.area == (10, 7)
    for patch, (y, x) in enumerate(layout.patches()):
        for cell, (top, left) in enumerate(layout.areas()):
            inside = sum(top <= i < top + 10 and left <= j < left + 7 for i in range(y, y + 4) for j in range(x, x + 4))
            assert int(poster.area_counts()[patch, poster.order[cell]]) == inside


def test_images_that_fill_an_area_together_are_shrunk_to_fit():
    """Also where each of them is as large as the whole area, and where there is one that is not."""
    two = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    assert tiled_area(two, (1, 2), (4, 4))[0].tolist() == [[1.0, 1.0, 2.0, 2.0]] * 4
    assert tiled_area(two, (2, 1), (4, 4))[0].tolist() == [[1.0] * 4] * 2 + [[2.0] * 4] * 2
    assert tiled_area(two[1:], (1, 1), (3, 6))[0].tolist() == [[2.0] * 6] * 3


def test_images_of_a_class_lie_side_by_side_in_its_area():
    layout = PosterLayout((4, 16), (4, 4), (4, 1), (2, 1))
    poster = Poster(Spec("two", 2, (1, 4, 4), ("a", "b")), layout, [1, 0])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    poster.write(values, torch.tensor([0, 0, 1, 1]))
    assert poster.poster.detach()[0, 0, ::4].tolist() == [3.0, 4.0, 1.0, 2.0]
