"""One learnable image for the whole data set, read as overlapping patches (PoDD, Shul et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from ..data import Batch, Spec
from ..errors import BenchError
from ..parameterization import Parameterization, Role
from ..registry import PARAMETERIZATIONS
from .poster_blend import blend, tiled_area
from .poster_layout import PosterLayout, starts

PatchLabels = Literal["fixed", "proportional", "learned", "probabilities"]
Crops = Literal["bounded", "toroidal"]


@PARAMETERIZATIONS.register("poster")
class Poster(Parameterization):
    """A poster of H x W pixels whose n_x x n_y patches, each the size of an image, are the training images.

    Pixels are shared by the patches that overlap there, and are stored once. On a toroidal layout a patch that reaches an
    edge goes on at the opposite one, and so do its labels. Labels of patches:

    * ``fixed``: softmax over the numbers of pixels a patch has in each class area, as in the authors' code; with
      hundreds of pixels as logits this is one-hot except for exact ties.
    * ``proportional``: those numbers divided by their sum, which is what "soft label by area" says.
    * ``learned`` (PoDDL): an array (C, h_l, w_l) of non-negative numbers, one-hot at first, of which every patch reads
      the crop under it and normalises it. The array has the class grid's shape times ``label_cells`` per class and
      side, so that every class owns a cell (the authors' floor-and-strict-less rule leaves 10 to 20 classes without).
    * ``probabilities``: a stored row of C numbers for every patch, used as they are; proportional ones at first, and no
      optimizer moves them.

    Tensors:
        poster: (c, H, W) float32, role image.
        label_array: float32, role label; (C, h_l, w_l) for ``learned``, (n, C) for ``probabilities``.
    """

    name: ClassVar[str] = "poster"
    version: ClassVar[int] = 2
    roles: ClassVar[Mapping[str, Role]] = {"poster": "image", "label_array": "label"}

    def __init__(
        self,
        spec: Spec,
        layout: PosterLayout,
        order: Sequence[int],
        labels: PatchLabels = "fixed",
        label_cells: int = 1,
        label_grid: tuple[int, int] | None = None,
    ) -> None:
        """Make an empty poster.

        Args:
            spec: the data set.
            layout: sizes and grids.
            order: class of every area, row after row: a permutation of range(C).
            labels: kind of patch labels.
            label_cells: cells per class and side of the learned label array (the root of the authors' comp_ipc).
            label_grid: (columns, rows) of a learned label array by another rule, such as the authors'; by default the class
                grid times ``label_cells``.

        Raises:
            BenchError: an unknown kind of labels, or ``order`` is not a permutation.
        """
        super().__init__()
        if labels not in get_args(PatchLabels):
            raise BenchError(f"labels '{labels}' do not exist; posters take {', '.join(get_args(PatchLabels))}")
        if sorted(order) != list(range(spec.classes)):
            raise BenchError(f"a class order must name each of the {spec.classes} classes once, found {list(order)}")
        if layout.class_grid[0] * layout.class_grid[1] != spec.classes or label_cells < 1:
            columns, rows = layout.class_grid
            raise BenchError(
                f"a class grid of {columns}x{rows} with {label_cells} cells a side does not give each of {spec.classes} classes one"
            )
        self.spec, self.layout, self.label_form = spec, layout, labels
        self.order, self.label_cells, self.label_grid = tuple(int(c) for c in order), label_cells, label_grid
        if label_grid is not None and min(label_grid) < 1:
            raise BenchError(f"a label array of {label_grid[0]}x{label_grid[1]} cells holds no label; give it at least one")
        self.poster = nn.Parameter(torch.zeros(spec.channels, *layout.size))
        self.label_array: nn.Parameter | None = None
        if labels == "learned":
            self.label_array = nn.Parameter(self._initial_label_array())
        elif labels == "probabilities":
            self.label_array = nn.Parameter(_normalised(self.area_counts()), requires_grad=False)

    def config(self) -> dict[str, Any]:
        """Return sizes, grids, class order and kind of labels, a grid of labels by another rule, and that patches wrap where they do."""
        return {
            "size": list(self.layout.size),
            "patch_grid": list(self.layout.patch_grid),
            "class_grid": list(self.layout.class_grid),
            "order": list(self.order),
            "labels": self.label_form,
            "label_cells": self.label_cells,
            **({} if self.label_grid is None else {"label_grid": list(self.label_grid)}),
            **({"crops": "toroidal"} if self.layout.toroidal else {}),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Poster:
        """Rebuild from ``config()``.

        Raises:
            BenchError: it asks for something that does not exist.
        """
        if (crops := config.get("crops", "bounded")) not in get_args(Crops):
            raise BenchError(f"crops '{crops}' do not exist; posters take {', '.join(get_args(Crops))}")
        size, patch_grid, class_grid = (tuple(int(v) for v in config[key]) for key in ("size", "patch_grid", "class_grid"))
        layout = PosterLayout(size, (spec.height, spec.width), patch_grid, class_grid, crops == "toroidal")  # type: ignore[arg-type]
        columns_rows = config.get("label_grid")
        grid = None if columns_rows is None else (int(columns_rows[0]), int(columns_rows[1]))
        return cls(spec, layout, config["order"], config["labels"], int(config["label_cells"]), grid)

    @classmethod
    def shapes(cls, config: Mapping[str, Any], spec: Spec) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a config."""
        height, width = config["size"]
        columns, rows = config.get("label_grid") or (cells * config["label_cells"] for cells in config["class_grid"])
        patches = math.prod(int(count) for count in config["patch_grid"])
        labels: dict[str, dict[str, tuple[int, ...]]] = {
            "learned": {"label_array": (spec.classes, rows, columns)},
            "probabilities": {"label_array": (patches, spec.classes)},
        }
        return {"poster": (spec.channels, height, width), **labels.get(config["labels"], {})}

    def __len__(self) -> int:
        """Number of patches."""
        return self.layout.patch_grid[0] * self.layout.patch_grid[1]

    def decode(self, index: Tensor | None = None) -> Batch:
        """Cut the patches at ``index`` (all without one): images (n, c, p_h, p_w), labels (n, C).

        One gather reads all patches, so the gradient of the poster is one scatter-add.
        """
        positions = self._here("_patch_pixels")
        chosen = positions if index is None else positions[index]
        patches = self.poster.flatten(1)[:, chosen]  # (c, n, p_h*p_w)
        images = patches.transpose(0, 1).unflatten(2, self.layout.patch)
        return Batch(images, self._labels(index))

    def slots(self) -> Tensor:
        """Return the classes: one image of each, or as many as lie side by side in a class area."""
        rows, columns = self.layout.images_per_area
        return torch.arange(self.spec.classes).repeat_interleave(rows * columns)

    @torch.no_grad()
    def write(self, images: Tensor, labels: Tensor) -> None:
        """Lay (c, h, w) images, the same number of every class, into the class areas, which fade into their neighbours."""
        images = images[labels.argsort(stable=True)].unflatten(0, (self.spec.classes, -1))
        areas = torch.stack([tiled_area(images[c], self.layout.images_per_area, self.layout.area) for c in self.order])
        self.poster.copy_(blend(areas, self.layout))

    @torch.no_grad()
    def write_labels(self, labels: Tensor) -> None:
        """Store a (n, C) row of labels for every patch.

        Raises:
            NotImplementedError: patches are labelled by where they lie.
        """
        if self.label_form != "probabilities":
            super().write_labels(labels)
        self.get_parameter("label_array").copy_(labels)

    def canvas(self) -> Tensor:
        """Return the poster (c, H, W) in its own coordinates, for pictures."""
        return self.poster.detach()

    def patch_positions(self) -> list[tuple[int, int]]:
        """Return (y, x) of every patch, which goes on at the opposite edge where it reaches beyond one."""
        return self.layout.patches()

    def class_map(self) -> Tensor:
        """Return the (H, W) class of every pixel: that of the area whose centre is nearest."""
        height, width = self.layout.area
        centres = torch.tensor([(y + (height - 1) / 2, x + (width - 1) / 2) for y, x in self.layout.areas()])
        rows = torch.arange(self.layout.size[0]).view(-1, 1, 1) - centres[:, 0]
        columns = torch.arange(self.layout.size[1]).view(1, -1, 1) - centres[:, 1]
        nearest = (rows.square() + columns.square()).argmin(2)
        return torch.tensor(self.order)[nearest]

    def area_counts(self) -> Tensor:
        """Return the (n, C) number of pixels that each patch has in each class area; areas may overlap."""
        counts = torch.zeros(len(self), self.spec.classes)
        patches = torch.tensor(self.layout.patches())
        for cell, corner in enumerate(self.layout.areas()):
            rows, columns = (
                _shared(patches[:, side], self.layout.patch[side], corner[side], self.layout.area[side], self.layout.size[side])
                for side in (0, 1)
            )
            counts[:, self.order[cell]] = (rows * columns).float()
        return counts

    def _here(self, name: str) -> Tensor:
        """Return a fixed tensor on the poster's device and leave it there, so that no step copies it again."""
        fixed: Tensor = getattr(self, name).to(self.poster.device)
        self.__dict__[name] = fixed  # where cached_property keeps it
        return fixed

    @cached_property
    def _patch_pixels(self) -> Tensor:
        """Return the (n, p_h*p_w) flat positions of every patch's pixels on the poster."""
        return _flat_windows(self.layout.patches(), self.layout.patch, self.layout.size)

    def _labels(self, index: Tensor | None) -> Tensor:
        if self.label_array is None:
            labels = self._fixed_labels.to(self.poster)
            return labels if index is None else labels[index]
        if self.label_form == "probabilities":
            return self.label_array if index is None else self.label_array[index]
        cells = self._here("_label_cells_of_patches")
        mass = self.label_array.flatten(1)[:, cells if index is None else cells[index]].sum(2).t()  # (n, C)
        return _normalised(mass)

    @cached_property
    def _fixed_labels(self) -> Tensor:
        # Normalise in float64, so that softmax over counts of hundreds keeps exact ties exact.
        counts = self.area_counts().double()
        return counts.softmax(1) if self.label_form == "fixed" else _normalised(counts)

    def _label_grid(self) -> tuple[int, int]:
        """Return (h_l, w_l) of the learned label array."""
        if self.label_grid is not None:
            return self.label_grid[1], self.label_grid[0]
        return self.layout.class_grid[1] * self.label_cells, self.layout.class_grid[0] * self.label_cells

    def _initial_label_array(self) -> Tensor:
        """Put one-hot labels into the cells of each class's rectangle of the class grid."""
        rows, columns = self._label_grid()
        cell_row = torch.arange(rows).view(-1, 1) * self.layout.class_grid[1] // rows
        cell_column = torch.arange(columns).view(1, -1) * self.layout.class_grid[0] // columns
        classes = torch.tensor(self.order)[cell_row * self.layout.class_grid[0] + cell_column]  # (h_l, w_l)
        return torch.nn.functional.one_hot(classes, self.spec.classes).permute(2, 0, 1).float()

    @cached_property
    def _label_cells_of_patches(self) -> Tensor:
        """Return the (n, cells) flat positions in the label array that each patch reads.

        Bounded patches read it by their own formula, so that the first one has the first cells and the last one the last.
        Toroidal ones, of which none is the first, read the cells under their middle.
        """
        grid, layout = self._label_grid(), self.layout
        window = [max(1, layout.patch[side] * grid[side] // layout.size[side]) for side in (0, 1)]
        if layout.toroidal:
            ys, xs = (
                [_cells_below(first, layout.patch[side], layout.size[side], window[side], grid[side]) for first in firsts]
                for side, firsts in enumerate((layout.rows, layout.columns))
            )
        else:
            ys, xs = (starts(grid[side], window[side], layout.patch_grid[1 - side]) for side in (0, 1))
        return _flat_windows([(y, x) for x in xs for y in ys], (window[0], window[1]), grid)


def _cells_below(first: int, patch: int, field: int, window: int, cells: int) -> int:
    """Return where ``window`` of ``cells`` start whose middle is nearest to that of a patch at ``first``, all around a ``field``."""
    # round((first + patch / 2) * cells / field - window / 2), halves upwards, in whole numbers.
    return ((2 * first + patch) * cells + (1 - window) * field) // (2 * field) % cells


def _flat_windows(corners: Sequence[tuple[int, int]], size: tuple[int, int], field: tuple[int, int]) -> Tensor:
    """Return the (n, h*w) flat positions of windows of one size at (y, x) in a field; what reaches beyond an edge goes on at the other."""
    places = torch.tensor(corners)
    rows, columns = ((places[:, side].view(-1, 1) + torch.arange(size[side])) % field[side] for side in (0, 1))
    return (rows.unsqueeze(2) * field[1] + columns.unsqueeze(1)).flatten(1)


def _shared(starts: Tensor, length: int, start: int, extent: int, field: int) -> Tensor:
    """Return how much intervals share with one of ``extent`` at ``start``.

    Args:
        starts: (n,) where they begin in the field.
        length: of each; what reaches beyond the end of the field goes on at its beginning.
        start: where the other one begins.
        extent: its length, none of which reaches beyond.
        field: length of the field.
    """
    shared = torch.zeros_like(starts)
    for begin in (starts, starts - field):  # the second is the part that goes on
        ends = (begin + length).clamp_max(start + extent)
        shared += (ends - begin.clamp_min(start)).clamp_min(0)
    return shared


def _normalised(mass: Tensor) -> Tensor:
    """Divide rows of (n, C) by their sums; a row without mass becomes uniform, not 0/0.

    That happens to a patch whose label cells were all clipped to zero.
    """
    total = mass.sum(1, keepdim=True)
    uniform = torch.full_like(mass, 1.0 / mass.shape[1])
    return torch.where(total > 1e-8, mass / total.clamp_min(1e-8), uniform)
