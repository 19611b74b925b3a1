"""Which arrays can be images of a data set, by their shape alone, and how they are brought to (n, c, h, w)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from ..data import Spec
from .questions import Question
from .real_pixels import neighbour_likeness

Layout = Literal["images", "poster"]

_SMALLEST = 8  # images at an eighth of the full side are still images; smaller squares are kernels of a network
_CLEARER = 0.1  # by how much neighbouring pixels are more alike in the right order of the numbers of a row
_SEAM = 1.4  # how much larger steps across the middle are than beside it, where two tiles meet there


@dataclass(frozen=True)
class Shaped:
    """An array as images.

    Attributes:
        layout: ``images``, or ``poster``: one image larger than those of the data set.
        images: (n, c, h, w), of the array's own type.
        evidence: a sentence.
        question: what the shape leaves open.
    """

    layout: Layout
    images: np.ndarray
    evidence: str
    question: Question | None = None


def shaped_images(values: np.ndarray, spec: Spec, flat: str = "") -> Shaped | None:
    """Return an array as images of a data set, or ``None`` if it can be none.

    Args:
        values: of any shape.
        spec: the data set.
        flat: how the numbers of a row follow each other, ``chw`` or ``hwc``, where somebody said so.
    """
    found = "x".join(map(str, values.shape))
    if not values.size:
        return None
    if values.ndim == 5 and values.shape[2:] == spec.shape:
        inner = replace(Shaped("images", values.reshape(-1, *spec.shape), ""))
        return replace(inner, evidence=f"{found}: {values.shape[0]} groups of {values.shape[1]} images, channels first")
    if values.ndim == 2 and values.shape[1] == math.prod(spec.shape):
        return _rows(values, spec, flat, found)
    with_batch = values[None] if values.ndim == 3 and not _is_gray_batch(values, spec) else values
    if _is_gray_batch(values, spec):
        with_batch = values[:, None]
    if with_batch.ndim != 4:
        return None
    for images, written in ((with_batch, "channels first"), (with_batch.transpose(0, 3, 1, 2), "channels last")):
        if (shaped := _whole(images, spec, f"{found}, {written}")) is not None:
            return shaped
    return None


def _is_gray_batch(values: np.ndarray, spec: Spec) -> bool:
    return values.ndim == 3 and spec.channels == 1 and values.shape[1:] == spec.shape[1:]


def _whole(images: np.ndarray, spec: Spec, found: str) -> Shaped | None:
    count, channels, height, width = images.shape
    if channels != spec.channels:
        return None
    if (height, width) == spec.shape[1:]:
        return Shaped("images", images, f"{found}: {count} images in the size of the data set")
    if height >= spec.height and width >= spec.width:
        larger = f"{found}: one image of {width}x{height} pixels, larger than the {spec.width}x{spec.height} of the data set: a poster"
        return Shaped("poster", images, larger) if count == 1 else None
    if height <= spec.height <= _SMALLEST * height and width <= spec.width <= _SMALLEST * width:
        return Shaped("images", images, f"{found}: {count} images smaller than the data set's, which are upsampled when they are used")
    return None


def _rows(values: np.ndarray, spec: Spec, flat: str, found: str) -> Shaped:
    """Read images that are stored as rows: in the right order of their numbers, neighbouring pixels are alike."""
    channels, height, width = spec.shape
    orders = {
        "chw": values.reshape(-1, channels, height, width),
        "hwc": values.reshape(-1, height, width, channels).transpose(0, 3, 1, 2),
    }
    rows = f"{found}: rows of {height}x{width}x{channels} numbers"
    if channels == 1 or flat:
        return Shaped("images", orders[flat or "chw"], f"{rows}{f', {flat} as said' if flat else ''}")
    alike = {
        name: float(neighbour_likeness(torch.from_numpy(np.ascontiguousarray(images)).float()).mean()) for name, images in orders.items()
    }
    best, other = sorted(alike, key=alike.__getitem__, reverse=True)
    told = f"read as {best}, neighbouring pixels correlate by {alike[best]:.2f}, as {other} by {alike[other]:.2f}"
    if alike[best] - alike[other] >= _CLEARER:
        return Shaped("images", orders[best], f"{rows}; {told}")
    question = Question("flat", "the order of the numbers in a row is not certain", (best, other))
    return Shaped("images", orders[best], f"{rows}; {told}", question)


def seam(images: np.ndarray) -> float:
    """Return how much larger the steps between pixels are across the middle of (n, c, h, w) images than next to it."""
    ratios = []
    for axis in (2, 3):
        steps = np.abs(np.diff(images.astype(np.float64), axis=axis)).mean(axis=tuple(each for each in range(4) if each != axis))
        middle = images.shape[axis] // 2 - 1
        beside = [steps[place] for place in (middle - 2, middle - 1, middle + 1, middle + 2) if 0 <= place < len(steps)]
        ratios.append(float(steps[middle]) / max(float(np.mean(beside)), 1e-12))
    return min(ratios)


def guess_tiles(images: np.ndarray) -> tuple[str, Question | None]:
    """Look whether each stored image is four tiles: they meet in the middle. Other numbers of tiles are not looked for."""
    height, width = images.shape[2:]
    if height % 2 or width % 2 or min(height, width) < 4:
        return "", None
    found = seam(images)
    told = f"steps across the middle are {found:.2f} times those beside it"
    if found < _SEAM:
        return f"{told}: whole images, not tiles", None
    return f"{told}: tiles may meet there", Question("tiles", "the images may be whole or made of tiles", (2, 1))


def guess_class_grid(poster: tuple[int, int], classes: int) -> tuple[int, int]:
    """Return the (columns, rows) of classes whose shape is nearest to that of a poster of (height, width)."""
    grids = [(columns, classes // columns) for columns in range(1, classes + 1) if classes % columns == 0]
    wanted = math.log(poster[1] / poster[0])
    return min(grids, key=lambda grid: abs(math.log(grid[0] / grid[1]) - wanted))
