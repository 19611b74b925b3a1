"""A picture of a distilled set in viewable colours: its canvas with the class map beside it, or a grid of its images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
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
_NAMED_IMAGES = 40  # up to so many images, each has its class written below it
_NAMED_CLASSES = 20
_GAP_GRAY = 0.5  # where a canvas has no patch
_DPI = 100
_SIDE = 4.0  # inches of the longer side of a canvas


def write_pictures(distilled: DistilledSet, space: Space, folder: Path, stem: str) -> list[str]:
    """Write ``<stem>.png`` into ``folder`` and return the paths written; the same set gives the same bytes.

    Args:
        distilled: the set.
        space: its pixel space, by whose inverse images are mapped back to colours.
        folder: made if it is not there.
        stem: name of the file without ending.
    """
    with torch.no_grad():
        figure = _canvas_figure(distilled, space) if isinstance(distilled.parameterization, Canvas) else _grid_figure(distilled, space)
    path = folder / f"{stem}.png"
    FigureCanvasAgg(figure)
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=_DPI, metadata={"Software": None})
    return [str(path)]


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
    """Lay (n, c, h, w) patches at their (y, x) onto a canvas (c, H, W), averaged where they overlap, NaN where none is."""
    total = torch.zeros(patches.shape[1], *size)
    count = torch.zeros(1, *size)
    height, width = patches.shape[2:]
    for patch, (y, x) in zip(patches, positions, strict=True):
        total[:, y : y + height, x : x + width] += patch
        count[:, y : y + height, x : x + width] += 1.0
    return total / torch.where(count > 0, count, torch.nan)


def _canvas_figure(distilled: DistilledSet, space: Space) -> Figure:
    poster = distilled.parameterization
    assert isinstance(poster, Canvas)  # the caller checked
    height, width = poster.canvas().shape[1:]
    patches, _ = _viewable(distilled, space)
    picture = on_canvas(patches, poster.patch_positions(), (height, width))
    scale = _SIDE / max(height, width)
    wide = width > 1.6 * height  # one above the other fits a page better
    size = (width * scale, height * scale)
    figure = Figure(figsize=(size[0] + 0.4, 2 * size[1] + 1.0) if wide else (2 * size[0] + 0.6, size[1] + 0.7), layout="constrained")
    left, right = figure.subplots(2, 1) if wide else figure.subplots(1, 2)
    _show(left, picture.clamp(0.0, 1.0) if distilled.coordinates == "rgb" else colours(picture))
    left.set_title(f"{distilled.spec.name}: {width}x{height} px, {len(poster.patch_positions())} patches", fontsize=8)
    _show_classes(right, poster.class_map().cpu(), distilled.spec)
    return figure


def _show(axes: Axes, image: Tensor) -> None:
    """Show a (c, h, w) image in [0, 1], NaN as gray."""
    image = torch.nan_to_num(image, nan=_GAP_GRAY)
    if image.shape[0] == 3:
        axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        axes.imshow(image.mean(0).numpy(), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_axis_off()


def _show_classes(axes: Axes, classes: Tensor, spec: Spec) -> None:
    """Show which class owns which part of the canvas, with names where they fit."""
    table = colormaps["tab20" if spec.classes <= 20 else "gist_ncar"].resampled(spec.classes)
    axes.imshow(table(classes.numpy()), interpolation="nearest")
    axes.set_title("classes", fontsize=8)
    axes.set_axis_off()
    if spec.classes > _NAMED_CLASSES:
        return
    for label in range(spec.classes):
        inside = torch.nonzero(classes == label).float()
        if len(inside):
            y, x = (float(v) for v in inside.mean(0))
            axes.text(x, y, _name(spec, label), ha="center", va="center", fontsize=7, bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.8})


def _grid_figure(distilled: DistilledSet, space: Space) -> Figure:
    images, labels = _viewable(distilled, space)
    classes = labels.argmax(1)
    order = classes.argsort(stable=True)[:_MOST_IMAGES]
    shown = images.clamp(0.0, 1.0) if distilled.coordinates == "rgb" else colours(images)
    columns = _columns(len(order), distilled.spec.classes)
    rows = math.ceil(len(order) / columns)
    named = len(order) <= _NAMED_IMAGES
    cell = 0.9 if named else 0.5
    figure = Figure(figsize=(max(3.0, columns * cell), rows * cell * (1.25 if named else 1.0) + 0.4), layout="constrained")
    more = f", the first {len(order)} of {len(images)}" if len(order) < len(images) else ""
    figure.suptitle(f"{distilled.spec.name}: {len(images)} images{more}", fontsize=8)
    axes = figure.subplots()
    gap = (max(1, images.shape[2] // (4 if named else 12)), max(1, images.shape[3] // 12))  # room for names above
    _show(axes, tiled(shown[order], columns, gap))
    if named:
        for place, label in enumerate(classes[order].tolist()):
            x = (place % columns) * (images.shape[3] + gap[1]) + (images.shape[3] - 1) / 2
            y = (place // columns) * (images.shape[2] + gap[0]) + gap[0] - 0.6
            axes.text(x, y, _name(distilled.spec, label), ha="center", va="bottom", fontsize=6)
    return figure


def tiled(images: Tensor, columns: int, gap: tuple[int, int]) -> Tensor:
    """Lay (n, c, h, w) images into rows of ``columns`` on white, with a gap of (rows, columns) pixels before each."""
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    page = torch.ones(channels, rows * (height + gap[0]), columns * (width + gap[1]) - gap[1])
    for place, image in enumerate(images):
        y, x = (place // columns) * (height + gap[0]) + gap[0], (place % columns) * (width + gap[1])
        page[:, y : y + height, x : x + width] = image
    return page


def _columns(images: int, classes: int) -> int:
    """Put whole classes into rows where that gives a handy grid, else make it about as wide as tall."""
    if images % classes == 0 and 4 <= images // classes <= (10 if images <= _NAMED_IMAGES else 20):
        return images // classes
    return 10 if images % 10 == 0 and images <= 100 else max(1, math.ceil(math.sqrt(images)))


def _name(spec: Spec, label: int) -> str:
    return spec.class_names[label] if label < len(spec.class_names) else str(label)
