"""Posters whose opposite edges touch: crops, their labels and gradients against plain loops, and that no pixel is favoured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from products import granted

from bench import BenchError, DistilledSet, RejectedSet, Spec, TrainRecipe
from bench.decoders.poster import Poster, _cells_below
from bench.decoders.poster_layout import PosterLayout, starts_around
from bench.judge.audit import audit
from bench.judge.pictures import on_canvas
from bench.methods.forms._poster_size import patch_grid, plan_layout
from bench.seeding import stream
from oracles import torus as oracle

#: (size, patch, patch grid, class grid): a patch may be as high as the poster, or end exactly at an edge.
LAYOUTS = [
    ((10, 23), (4, 8), (5, 3), (3, 2)),
    ((8, 24), (8, 8), (7, 5), (6, 1)),
    ((12, 12), (4, 4), (3, 3), (3, 2)),
    ((9, 7), (9, 7), (7, 2), (2, 3)),
    ((13, 10), (4, 4), (10, 13), (2, 3)),
]
ORDER = [3, 5, 0, 1, 4, 2]


def made(size, patch, grid, classes, labels="fixed", label_cells=1) -> Poster:
    spec = Spec("six", 6, (2, *patch), tuple("abcdef"))
    poster = Poster(spec, PosterLayout(size, patch, grid, classes, toroidal=True), ORDER, labels, label_cells).double()
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=stream("torus"), dtype=torch.float64))
    return poster


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_are_those_of_plain_loops(layout):
    size, patch, grid, _ = layout
    poster = made(*layout)
    expected = oracle.crops(poster.poster.detach().numpy(), patch, grid)
    assert poster.layout.patches() == oracle.corners(size, grid)
    assert np.array_equal(poster.decode().images.detach().numpy(), expected)
    index = torch.tensor([len(poster) - 1, 0])
    assert np.array_equal(poster.decode(index).images.detach().numpy(), expected[[-1, 0]])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_of_the_poster_goes_around_the_edges(layout):
    size, _, grid, _ = layout
    poster = made(*layout)
    weights = torch.randn(poster.decode().images.shape, generator=stream("weights"), dtype=torch.float64)
    (found,) = torch.autograd.grad((poster.decode().images * weights).sum(), poster.poster)
    assert np.allclose(found.numpy(), oracle.gradient(weights.numpy(), size, grid), rtol=1e-12)


@pytest.mark.parametrize("labels", ["fixed", "proportional"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_by_area_count_the_part_beyond_an_edge_where_it_lies(layout, labels):
    size, patch, grid, _ = layout
    poster = made(*layout, labels)
    counts = oracle.shares(size, patch, grid, poster.layout.areas(), poster.layout.area, ORDER)
    assert np.array_equal(poster.area_counts().numpy(), counts)
    powers = np.exp(counts - counts.max(1, keepdims=True))
    expected = powers / powers.sum(1, keepdims=True) if labels == "fixed" else counts / counts.sum(1, keepdims=True)
    assert np.allclose(poster.decode().labels.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("label_cells", [1, 2, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_learned_labels_and_their_gradient_are_those_of_the_cells_under_the_patch(layout, label_cells):
    size, patch, grid, classes = layout
    poster = made(*layout, "learned", label_cells)
    with torch.no_grad():
        poster.label_array.copy_(torch.rand(poster.label_array.shape, generator=stream("labels"), dtype=torch.float64))
    cells = (classes[1] * label_cells, classes[0] * label_cells)
    window = tuple(max(1, patch[side] * cells[side] // size[side]) for side in (0, 1))
    places = [
        tuple(_cells_below(corner[side], patch[side], size[side], window[side], cells[side]) for side in (0, 1))
        for corner in oracle.corners(size, grid)
    ]
    for corner, place in zip(oracle.corners(size, grid), places, strict=True):
        for side in (0, 1):
            assert place[side] in oracle.nearest_windows(corner[side], patch[side], size[side], window[side], cells[side])
    mass = oracle.window_sums(poster.label_array.detach().numpy(), places, window)
    assert np.allclose(poster.decode().labels.detach().numpy(), mass / mass.sum(1, keepdims=True), rtol=1e-12)
    # A row y = m / s of windows: dy_c/dm_d = (δ_cd - y_c) / s, and every cell of a window is a part of its m.
    weights = torch.randn(len(poster), 6, generator=stream("weights"), dtype=torch.float64)
    (found,) = torch.autograd.grad((poster.decode().labels * weights).sum(), poster.label_array)
    total, given_weights = mass.sum(1, keepdims=True), weights.numpy()
    by_window = (given_weights - (given_weights * mass / total).sum(1, keepdims=True)) / total
    spread = np.repeat(by_window[:, :, None, None], window[0], 2).repeat(window[1], 3)
    expected = np.zeros(found.shape)
    for k, place in enumerate(places):
        for (dy, dx), (y, x) in oracle.pixels(place, window, cells):
            expected[:, y, x] += spread[k, :, dy, dx]
    assert np.allclose(found.numpy(), expected, atol=1e-12)


@given(field=st.integers(1, 60), count=st.integers(1, 60), window=st.integers(1, 60))
def test_every_place_of_a_ring_lies_in_equally_many_windows_but_for_one(field, count, window):
    count, window = min(count, field), min(window, field)
    firsts = starts_around(field, count)
    assert len(set(firsts)) == count
    covered = [sum((place - first) % field < window for first in firsts) for place in range(field)]
    assert max(covered) - min(covered) <= 1
    if field % count == 0 and window % (field // count) == 0:
        assert max(covered) == min(covered)


def test_even_steps_cover_every_pixel_equally_often_where_bounded_patches_do_not():
    size, patch, grid = (16, 40), (8, 8), (10, 4)
    assert set(oracle.coverage(size, patch, grid).flatten()) == {4.0}
    bounded = torch.zeros(size)
    for y, x in PosterLayout(size, patch, grid, (5, 2)).patches():
        bounded[y : y + 8, x : x + 8] += 1
    assert float(bounded.max()) > 3 * float(bounded.min())


@given(classes=st.integers(2, 40), side=st.integers(4, 32), ipc=st.floats(0.05, 3.0), overlap=st.floats(0.0, 0.9), asked=st.integers(0, 20))
def test_toroidal_layouts_keep_the_budget_and_cover_themselves_with_distinct_patches(classes, side, ipc, overlap, asked):
    pixels = int(ipc * classes * side * side)
    layout = plan_layout(pixels, classes, (side, side), (asked, asked) if asked else None, (overlap, overlap), toroidal=True)
    if layout is None:
        return
    patches = layout.patches()
    assert layout.size[0] * layout.size[1] <= pixels
    assert len(set(patches)) == len(patches) == layout.patch_grid[0] * layout.patch_grid[1]
    for field, firsts in zip(layout.size, (layout.rows, layout.columns), strict=True):
        assert max(b - a for a, b in zip(firsts, [*firsts[1:], field], strict=True)) <= side
        if not asked and len(firsts) < field:
            assert field / len(firsts) <= side * (1.0 - overlap) + 1e-6


def test_the_grid_has_a_patch_for_the_seam_too():
    assert patch_grid((16, 40), (8, 8), None, (0.5, 0.5)) == (9, 3)
    assert patch_grid((16, 40), (8, 8), None, (0.5, 0.5), toroidal=True) == (10, 4)
    assert patch_grid((8, 24), (8, 8), (99, 99), (0.0, 0.0), toroidal=True) == (24, 8)


def test_only_toroidal_posters_say_so_in_their_config():
    spec = Spec("six", 6, (1, 4, 8), tuple("abcdef"))
    bounded = Poster(spec, PosterLayout((10, 23), (4, 8), (5, 3), (3, 2)), ORDER).config()
    assert "crops" not in bounded
    around = Poster(spec, PosterLayout((10, 23), (4, 8), (5, 3), (3, 2), toroidal=True), ORDER).config()
    assert around == {**bounded, "crops": "toroidal"}
    assert Poster.from_config(around, spec).layout.toroidal
    assert not Poster.from_config(bounded, spec).layout.toroidal
    with pytest.raises(BenchError, match="crops 'spherical' do not exist; posters take bounded, toroidal"):
        Poster.from_config({**bounded, "crops": "spherical"}, spec)


@pytest.mark.parametrize("labels", ["fixed", "learned", "probabilities"])
def test_a_toroidal_set_comes_back_from_disk_and_passes_the_audit(labels, tmp_path):
    layout = PosterLayout((14, 30), (8, 8), (6, 4), (5, 2), toroidal=True)
    spec = Spec("digits", 10, (1, 8, 8), tuple("0123456789"))
    poster = Poster(spec, layout, range(10), labels)
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=stream("torus")))
    DistilledSet(spec, poster, TrainRecipe(steps=5)).save(tmp_path)
    charged = 24 * 10 - 100 if labels == "probabilities" else 0
    assert audit(DistilledSet.load(tmp_path, spec), granted("640px", spec))["pixels"] == 14 * 30 + charged
    again = DistilledSet.load(tmp_path, spec).parameterization
    assert torch.equal(again.decode().images, poster.decode().images)
    assert torch.equal(again.decode().labels, poster.decode().labels)
    if charged:
        with pytest.raises(RejectedSet, match="140 of its 240 label numbers included"):
            audit(DistilledSet.load(tmp_path, spec), granted("559px", spec))


def test_a_picture_puts_every_pixel_of_a_wrapping_patch_where_it_is():
    poster = made(*LAYOUTS[0])
    shown = on_canvas(poster.decode().images.detach().float(), poster.patch_positions(), (10, 23))
    assert torch.allclose(shown, poster.canvas().float(), atol=1e-6)
