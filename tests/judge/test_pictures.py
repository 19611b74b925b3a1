"""Pictures: the same bytes every time, canvases put together from their patches, grids sorted by class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from bench import Dataset, DistilledSet, Parameterization, TrainRecipe
from bench.judge import write_pictures
from bench.judge.pictures import _columns as columns_of
from bench.judge.pictures import _label_panels as label_panels
from bench.judge.pictures import _shown_of as shown_of
from bench.judge.pictures import colours, on_canvas, tiled
from bench.nn.spaces import fit_space
from bench.parameterization import Canvas
from bench.registry import PARAMETERIZATIONS, load_plugin_file

POSTER = '''
import torch
from torch import nn

from bench import PARAMETERIZATIONS, Batch, Parameterization


@PARAMETERIZATIONS.register("judge-canvas")
class TwoPatches(Parameterization):
    """An 8x12 canvas read as two patches that overlap by four columns."""

    name = "judge-canvas"
    roles = {"poster": "image"}

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.poster = nn.Parameter(torch.zeros(1, 8, 12))

    def config(self):
        return {}

    @classmethod
    def from_config(cls, config, spec):
        return cls(spec)

    def __len__(self):
        return 2

    def decode(self, index=None):
        images = torch.stack([self.poster[:, :, 0:8], self.poster[:, :, 4:12]])
        labels = torch.eye(2)
        return Batch(images, labels) if index is None else Batch(images[index], labels[index])

    def write(self, images, labels):
        raise NotImplementedError

    @property
    def channels(self):
        return 1

    def canvas(self):
        return self.poster.detach()

    def patch_positions(self):
        return [(0, 0), (0, 4)]

    def class_map(self):
        return (torch.arange(12) >= 6).long().expand(8, 12)
'''


@pytest.fixture(scope="session")
def two_patches(tmp_path_factory: pytest.TempPathFactory) -> type[Parameterization]:
    file = tmp_path_factory.mktemp("canvas") / "canvas_plugin.py"
    file.write_text(POSTER)
    load_plugin_file(str(file))
    kind: type[Parameterization] = PARAMETERIZATIONS["judge-canvas"]
    return kind


@pytest.mark.parametrize("choices", [{}, {"coordinates": "space"}, {"coordinates": "space", "space": "zca_kip"}])
def test_a_grid_is_the_same_twice(choices: dict[str, str], make_set: Callable[..., DistilledSet], bars: Dataset, tmp_path: Path) -> None:
    distilled = make_set(5, **choices)
    space = fit_space(distilled.space, bars.train)
    first = write_pictures(distilled, space, tmp_path / "a", "set")
    second = write_pictures(distilled, space, tmp_path / "b", "set")
    assert first == [str(tmp_path / "a" / "set.png"), str(tmp_path / "a" / "set.svg")]
    assert [Path(path).read_bytes() for path in first] == [Path(path).read_bytes() for path in second]
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["set.png", "set.svg"]
    assert imread(first[0]).std() > 0.05


def test_many_images_make_one_page(make_set: Callable[..., DistilledSet], bars: Dataset, tmp_path: Path) -> None:
    distilled = make_set(20)
    path, _ = write_pictures(distilled, fit_space("standard", bars.train), tmp_path, "many")
    assert max(imread(path).shape[:2]) < 1500


@pytest.mark.parametrize(
    ("classes", "shown", "words"),
    [
        (torch.tensor([1, 0, 1, 0]), [1, 3, 0, 2], ""),
        (torch.arange(1150) % 10, [c + 10 * k for c in range(10) for k in range(20)], ", the first 20 of every class"),
        (torch.arange(800) // 2, list(range(0, 400, 2)), ", one of each of the first 200 classes"),
        (torch.cat([torch.zeros(500), torch.ones(3)]).long(), [*range(100), 500, 501, 502], ", the first 100 of every class"),
    ],
)
def test_of_many_images_every_class_is_shown(classes: torch.Tensor, shown: list[int], words: str) -> None:
    found, said = shown_of(classes)
    assert (found.tolist(), said) == (shown, words)


def test_its_title_is_on_top(make_set: Callable[..., DistilledSet], bars: Dataset, tmp_path: Path) -> None:
    space = fit_space("standard", bars.train)
    _, svg = write_pictures(make_set(5), space, tmp_path, "named", "mine on bars, 1 IPC (96 px), seed 0: 61.2 %")
    assert "mine on bars, 1 IPC (96 px), seed 0: 61.2 %" in Path(svg).read_text(encoding="utf-8")
    _, svg = write_pictures(make_set(5), space, tmp_path, "money", "a$b_c$")
    assert "<!-- a$b_c$ -->" in Path(svg).read_text(encoding="utf-8")
    _, svg = write_pictures(make_set(5), space, tmp_path, "plain")
    assert f"<!-- {bars.spec.name} -->" in Path(svg).read_text(encoding="utf-8")


@pytest.mark.parametrize(("images", "classes", "columns"), [(40, 10, 8), (10, 10, 5), (3, 10, 3), (100, 10, 10), (20, 2, 10), (7, 10, 4)])
def test_rows_hold_whole_classes_and_the_page_is_no_long_strip(images: int, classes: int, columns: int) -> None:
    assert columns_of(images, classes, 1.0) == columns


def test_no_row_of_a_page_is_blank_for_long(make_set: Callable[..., DistilledSet], bars: Dataset, tmp_path: Path) -> None:
    path, _ = write_pictures(make_set(20), fit_space("standard", bars.train), tmp_path, "dense")
    white = (imread(path)[..., :3].min(axis=(1, 2)) > 0.99).astype(int)
    bands = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], white, [0]]))))[::2]
    assert bands.max() < 40, f"a blank band of {bands.max()} pixels"


def test_labels_are_drawn_unless_each_is_one_class(two_patches: type[Parameterization], bars: Dataset) -> None:
    soft = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]])
    [panel] = label_panels(soft, bars.spec, "patch")
    assert panel.heading == "labels, 0 to 1"
    axes = Figure().add_subplot()
    panel.draw(axes)
    assert np.array_equal(axes.images[0].get_array(), soft.numpy())  # one row a patch, one column a class
    assert [text.get_text() for text in axes.get_yticklabels()] == ["patch 0", "patch 2"]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(bars.spec.class_names)
    assert label_panels(torch.eye(2)[[1, 0, 1]], bars.spec, "image") == []
    assert label_panels(2 * torch.eye(2), bars.spec, "image") != []


def test_a_canvas_has_its_class_map_beside_it(two_patches: type[Parameterization], bars: Dataset, tmp_path: Path) -> None:
    poster = two_patches.from_config({}, bars.spec)
    assert isinstance(poster, Canvas)
    with torch.no_grad():
        poster.get_parameter("poster").copy_(torch.linspace(-1, 1, 96).view(1, 8, 12))
    distilled = DistilledSet(bars.spec, poster, TrainRecipe())
    space = fit_space("standard", bars.train)
    first = Path(write_pictures(distilled, space, tmp_path, "one")[0]).read_bytes()
    assert first == Path(write_pictures(distilled, space, tmp_path, "two")[0]).read_bytes()
    picture = imread(tmp_path / "one.png")[..., :3]
    coloured = (picture.max(-1) - picture.min(-1)) > 0.2
    assert coloured[:, picture.shape[1] // 2 :].any() or coloured[picture.shape[0] // 2 :].any()
    assert not coloured[: picture.shape[0] // 2, : picture.shape[1] // 2].any()


def test_plain_images_are_no_canvas(make_set: Callable[..., DistilledSet]) -> None:
    assert not isinstance(make_set(1).parameterization, Canvas)


def test_patches_are_averaged_where_they_overlap() -> None:
    patches = torch.stack([torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)])
    canvas = on_canvas(patches, [(0, 0), (0, 1)], (3, 3))
    assert canvas[0, :2].tolist() == [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert canvas[0, 2].isnan().all()


def test_colours_are_robust() -> None:
    values = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([1e6])]).view(1, 1, 7, 143)
    shown = colours(values)
    assert (float(shown.min()), float(shown.max())) == (0.0, 1.0)
    assert 0.4 < float(shown.median()) < 0.6
    assert torch.equal(colours(torch.full((2, 1, 2, 2), 7.0)), torch.full((2, 1, 2, 2), 0.5))
    assert colours(torch.tensor([0.0, torch.nan, 1.0])).isnan().tolist() == [False, True, False]


def test_tiles() -> None:
    page = tiled(torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2), 2, (1, 1))
    expected = np.ones((6, 5))
    expected[1:3, 0:2], expected[1:3, 3:5], expected[4:6, 0:2] = 0.0, 1.0, 2.0
    assert np.array_equal(page[0].numpy(), expected)
