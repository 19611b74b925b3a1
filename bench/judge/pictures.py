"""A picture of a distilled set in viewable colours: its canvas and the class map, or a grid of its images, and its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ..data import Spec
from ..distilled import DistilledSet
from ..files import replacing
from ..parameterization import Canvas
from ..space import Space

_MOST_IMAGES = 200
_NAMED_IMAGES = 40  # up to so many images, each has its class written above it
_NAMED_CLASSES = 20
_GAP_GRAY = 0.5  # where a canvas has no patch
_DPI = 100
_SIDE = 4.0  # inches of the longer side of a canvas, and of a long heat map
_LONGEST = 11.0  # inches of the longer side of a grid, at most
_CELL = 0.17  # inches of one number of a heat map, as long as that fits its side
_MARGIN, _TITLE, _HEADING = 0.15, 0.3, 0.25  # inches: around everything, the title, above each panel
_TICKS = (0.9, 0.2)  # inches for the labels of a heat map's axes, left and below
_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}  # or equal pictures would differ


@dataclass(frozen=True)
class _Panel:
    """One drawing: what stands above it, its size in inches (tick labels apart), how it is drawn, and room for tick labels."""

    heading: str
    size: tuple[float, float]
    draw: Callable[[Axes], None]
    ticks: tuple[float, float] = (0.0, 0.0)

    @property
    def width(self) -> float:
        return self.size[0] + self.ticks[0]

    @property
    def height(self) -> float:
        return self.size[1] + self.ticks[1] + _HEADING


def write_pictures(distilled: DistilledSet, space: Space, folder: Path, stem: str, title: str = "") -> list[str]:
    """Write ``<stem>.png`` and ``<stem>.svg`` into ``folder`` and return the paths; the same set gives the same bytes.

    Labels are drawn as a heat map, image (or patch) x class, unless they are one class for each image.

    Args:
        distilled: the set.
        space: its pixel space, by whose inverse images are mapped back to colours.
        folder: made if it is not there.
        stem: name of the files without ending.
        title: stands on top; the data set's name by default.
    """
    written = []
    # Names may hold dollar signs that begin no mathematics.
    with torch.no_grad(), rc_context({"svg.hashsalt": "ddbench", "text.parse_math": False}):
        panels = _canvas_panels(distilled, space) if isinstance(distilled.parameterization, Canvas) else _grid_panels(distilled, space)
        figure = _page(panels, title or distilled.spec.name)
        for ending, metadata in _METADATA.items():
            path = folder / f"{stem}.{ending}"
            with replacing(path) as scratch:
                figure.savefig(scratch, dpi=_DPI, metadata=metadata)
            written.append(str(path))
    return written


def _page(panels: Sequence[_Panel], title: str) -> Figure:
    """Put panels beside each other or below each other, whichever leaves less blank."""
    widths, heights = [panel.width for panel in panels], [panel.height for panel in panels]
    gaps = _MARGIN * (len(panels) - 1)
    below, beside = (max(widths), sum(heights) + gaps), (sum(widths) + gaps, max(heights))
    stacked = below[0] * below[1] < beside[0] * beside[1]
    inner = below if stacked else beside
    needed = 0.075 * len(title)  # inches of a line of text at 9 points
    width, height = max(inner[0], needed) + 2 * _MARGIN, inner[1] + _TITLE + 2 * _MARGIN
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.text(_MARGIN / width, 1 - (_MARGIN + 0.5 * _TITLE) / height, title, fontsize=9, va="center")
    left, top = _MARGIN, height - _MARGIN - _TITLE
    for panel in panels:
        x, y = left + panel.ticks[0], top - _HEADING - panel.size[1]
        axes = figure.add_axes((x / width, y / height, panel.size[0] / width, panel.size[1] / height))
        panel.draw(axes)
        axes.set_title(panel.heading, fontsize=8, loc="left")
        left, top = (left, top - panel.height - _MARGIN) if stacked else (left + panel.width + _MARGIN, top)
    return figure


def colours(images: Tensor) -> Tensor:
    """Stretch values between their 1st and 99th percentile to [0, 1]; NaN stays NaN, flat images become gray."""
    known = images[~images.isnan()].double().numpy()
    low, high = np.percentile(known, (1.0, 99.0)) if known.size else (0.0, 0.0)
    if high - low < 1e-12:
        return torch.where(images.isnan(), images, torch.full_like(images, _GAP_GRAY))
    return ((images - low) / (high - low)).clamp(0.0, 1.0)


def _viewable(distilled: DistilledSet, space: Space) -> tuple[Tensor, Tensor]:
    """Return decoded images (n, c, h, w) mapped back to pixels, not yet stretched, and their labels (n, k)."""
    batch = distilled.parameterization.decode()
    images = batch.images.detach().float().cpu()
    return (images if distilled.coordinates == "rgb" else space.inverse(images)), batch.labels.detach().float().cpu()


def on_canvas(patches: Tensor, positions: list[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """Lay (n, c, h, w) patches at their (y, x) onto a canvas (c, H, W), averaged where they overlap, NaN where none is.

    What reaches beyond an edge goes on at the opposite one.
    """
    total = torch.zeros(patches.shape[1], *size)
    count = torch.zeros(1, *size)
    height, width = patches.shape[2:]
    for patch, (y, x) in zip(patches, positions, strict=True):
        rows, columns = (torch.arange(y, y + height) % size[0]).view(-1, 1), torch.arange(x, x + width) % size[1]
        total[:, rows, columns] += patch
        count[:, rows, columns] += 1.0
    return total / torch.where(count > 0, count, torch.nan)


def _canvas_panels(distilled: DistilledSet, space: Space) -> list[_Panel]:
    poster = distilled.parameterization
    assert isinstance(poster, Canvas)  # the caller checked
    height, width = poster.canvas().shape[1:]
    patches, labels = _viewable(distilled, space)
    picture = on_canvas(patches, poster.patch_positions(), (height, width))
    shown = picture.clamp(0.0, 1.0) if distilled.coordinates == "rgb" else colours(picture)
    classes = poster.class_map().cpu()
    scale = _SIDE / max(height, width)
    size = (width * scale, height * scale)
    return [
        _Panel(f"{width}x{height} px, {len(patches)} patches", size, lambda axes: _show(axes, shown)),
        _Panel("classes", size, lambda axes: _show_classes(axes, classes, distilled.spec)),
        *_label_panels(labels, distilled.spec, "patch"),
    ]


def _show(axes: Axes, image: Tensor) -> None:
    """Show a (c, h, w) image in [0, 1], NaN as gray."""
    image = torch.nan_to_num(image, nan=_GAP_GRAY)
    if image.shape[0] == 3:
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
    else:
        axes.imshow(image.mean(0).numpy(), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest", aspect="auto")
    axes.set_axis_off()


def _show_classes(axes: Axes, classes: Tensor, spec: Spec) -> None:
    """Show which class owns which part of the canvas, with names where they fit."""
    table = colormaps["tab20" if spec.classes <= 20 else "gist_ncar"].resampled(spec.classes)
    axes.imshow(table(classes.numpy()), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if spec.classes > _NAMED_CLASSES:
        return
    for label in range(spec.classes):
        inside = torch.nonzero(classes == label).float()
        if len(inside):
            y, x = (float(v) for v in inside.mean(0))
            axes.text(x, y, _name(spec, label), ha="center", va="center", fontsize=7, bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.8})


def _label_panels(labels: Tensor, spec: Spec, what: str) -> list[_Panel]:
    """Return a heat map of the labels (n, k), one row an image or patch, or nothing where each is just one class."""
    if torch.equal(labels, torch.nn.functional.one_hot(labels.argmax(1), spec.classes).float()):
        return []
    shown = labels[:_MOST_IMAGES]
    size = (min(_SIDE, _CELL * spec.classes), min(_SIDE, _CELL * len(shown)))
    span = f"{float(labels.min()):.2g} to {float(labels.max()):.2g}"
    more = f", the first {len(shown)} of {len(labels)}" if len(shown) < len(labels) else ""

    def draw(axes: Axes) -> None:
        axes.imshow(shown.numpy(), cmap="viridis", interpolation="nearest", aspect="auto")
        axes.tick_params(length=0, labelsize=6)
        named = spec.classes <= _NAMED_CLASSES
        every = max(1, spec.classes // 10)
        ticks = range(spec.classes) if named else range(0, spec.classes, every)
        axes.set_xticks(list(ticks), [_name(spec, label) if named else str(label) for label in ticks], rotation=90)
        axes.set_yticks([0, len(shown) - 1], [f"{what} 0", f"{what} {len(shown) - 1}"] if len(shown) > 1 else [f"{what} 0", ""])

    longest = max((len(_name(spec, label)) for label in range(spec.classes)), default=1) if spec.classes <= _NAMED_CLASSES else 3
    return [_Panel(f"labels, {span}{more}", size, draw, ticks=(_TICKS[0], _TICKS[1] + 0.06 * longest))]


def _grid_panels(distilled: DistilledSet, space: Space) -> list[_Panel]:
    images, labels = _viewable(distilled, space)
    classes = labels.argmax(1)
    order, more = _shown_of(classes)
    shown = images.clamp(0.0, 1.0) if distilled.coordinates == "rgb" else colours(images)
    columns = _columns(len(order), distilled.spec.classes, images.shape[3] / images.shape[2])
    named = len(order) <= _NAMED_IMAGES
    gap = (max(1, images.shape[2] // (4 if named else 12)), max(1, images.shape[3] // 12))  # room for names above
    page = tiled(shown[order], columns, gap)
    inches = min((0.8 if named else 0.45) / images.shape[3], _LONGEST / max(page.shape[1:]))

    def draw(axes: Axes) -> None:
        _show(axes, page)
        for place, label in enumerate(classes[order].tolist() if named else ()):
            x = (place % columns) * (images.shape[3] + gap[1]) + (images.shape[3] - 1) / 2
            y = (place // columns) * (images.shape[2] + gap[0]) + gap[0] - 0.6
            axes.text(x, y, _name(distilled.spec, label), ha="center", va="bottom", fontsize=6)

    size = (page.shape[2] * inches, page.shape[1] * inches)
    return [
        _Panel(f"{len(images)} images{more}", size, draw),
        *_label_panels(labels[order], distilled.spec, "image"),
    ]


def _shown_of(classes: Tensor) -> tuple[Tensor, str]:
    """Return which images of these classes (n,) are shown, class after class, and words if these are not all of them.

    Of many images every class has its first ones, as many as fit.
    """
    order = classes.argsort(stable=True)
    if len(order) <= _MOST_IMAGES:
        return order, ""
    counts = classes.bincount()
    present = int((counts > 0).sum())
    most = max(1, _MOST_IMAGES // present)
    place = torch.arange(len(order)) - (counts.cumsum(0) - counts)[classes[order]]
    shown = order[place < most][:_MOST_IMAGES]
    return shown, f", the first {most} of every class" if present <= _MOST_IMAGES else f", one of each of the first {_MOST_IMAGES} classes"


def tiled(images: Tensor, columns: int, gap: tuple[int, int]) -> Tensor:
    """Lay (n, c, h, w) images into rows of ``columns`` on white, with a gap of (rows, columns) pixels before each."""
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    page = torch.ones(channels, rows * (height + gap[0]), columns * (width + gap[1]) - gap[1])
    for place, image in enumerate(images):
        y, x = (place // columns) * (height + gap[0]) + gap[0], (place % columns) * (width + gap[1])
        page[:, y : y + height, x : x + width] = image
    return page


def _columns(images: int, classes: int, aspect: float) -> int:
    """Return how many images stand in a row: whole classes, if there are equally many of each, on a page half again as wide as tall.

    Args:
        images: how many there are.
        classes: how many they belong to.
        aspect: width of an image over its height.
    """
    each = images // classes if images % classes == 0 else 1
    possible = range(each, images + 1, each)

    def unlikeness(columns: int) -> tuple[float, int]:
        rows = math.ceil(images / columns)
        empty = (rows * columns - images) / images
        return abs(math.log(columns * aspect / rows / 1.5)) + 2 * empty, columns

    return min(possible, key=unlikeness)


def _name(spec: Spec, label: int) -> str:
    return spec.class_names[label] if label < len(spec.class_names) else str(label)
