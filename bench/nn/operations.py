"""Operations of augmentation that other papers use beside those of DSA: their parameters, as ``Augmentation`` holds them.

=============== =============================================================================================================
of              operations
=============== =============================================================================================================
DC, on MNIST    ``pad`` (pad by 4 pixels and crop: shifts by −4 to 3 whole pixels), ``resize`` (height and width by a factor of
                their own from 0.8 to 1.2), ``turn`` (by at most 45 degrees); DC draws an operation for each image (``each_``)
FRePo, RCIG     ``tint`` (brightness ±0.25, added; saturation and contrast by e^±0.25, their logarithm uniform), ``zoom`` (by 0.8
                to 1.25, its logarithm uniform, at a random place), ``translate`` (by at most an eighth of the image, not by
                whole pixels), ``hole`` (a box of a quarter of height and width, inside the image)
=============== =============================================================================================================

As everywhere in ``bench.nn.augment``, what comes from outside the image is zero, and resampling is bilinear. DC's code fills with the
mean of the batch, and rotates by splines.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Shape = tuple[int, int, int]
Draw = Callable[[int, Shape, torch.Generator], dict[str, Tensor]]

_PAD = 4
_RESIZE = 0.2
_TURN = math.radians(45.0)
_TINT = 0.25
_ZOOM = math.log(1.25)
_TRANSLATE = 0.125
_HOLE = 4


def _uniform(count: int, most: float, generator: torch.Generator) -> Tensor:
    return torch.empty(count).uniform_(-most, most, generator=generator)


def _affine(along_x: tuple[Tensor, Tensor], along_y: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the map output → input that scales by the first and then shifts by the second of each pair, in units of half an image."""
    affine = torch.zeros(len(along_x[0]), 2, 3)
    affine[:, 0, 0], affine[:, 0, 2] = along_x
    affine[:, 1, 1], affine[:, 1, 2] = along_y
    return {"affine": affine}


def _pad(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    columns, rows = (torch.randint(-_PAD, _PAD, (count,), generator=generator) * (2.0 / size) for size in (shape[2], shape[1]))
    return _affine((torch.ones(count), columns), (torch.ones(count), rows))


def _resize(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    width, height = (1.0 / (1.0 + _uniform(count, _RESIZE, generator)) for _ in range(2))
    return _affine((width, torch.zeros(count)), (height, torch.zeros(count)))


def _turn(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    angle = _uniform(count, _TURN, generator)
    drawn = _affine((angle.cos(), torch.zeros(count)), (angle.cos(), torch.zeros(count)))
    drawn["affine"][:, 0, 1], drawn["affine"][:, 1, 0] = -angle.sin(), angle.sin()
    return drawn


def _tint(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    brightness, saturation, contrast = (_uniform(count, _TINT, generator) for _ in range(3))
    return {"color": torch.stack([brightness, saturation.exp(), contrast.exp()], 1)}


def _zoom(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    seen = _uniform(count, _ZOOM, generator).neg().exp()  # the share of the image that is seen, above one if it shrinks
    columns, rows = (_uniform(count, 1.0, generator) * (1.0 - seen) for _ in range(2))
    return _affine((seen, columns), (seen, rows))


def _translate(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    columns, rows = (_uniform(count, 2.0 * _TRANSLATE, generator) for _ in range(2))
    return _affine((torch.ones(count), columns), (torch.ones(count), rows))


def _hole(count: int, shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    inside = []
    for size in shape[1:]:
        box = size // _HOLE
        first = torch.randint(size - box + 1, (count, 1), generator=generator)
        place = torch.arange(size)
        inside.append((place >= first) & (place < first + box))
    hole = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)
    return {"keep": (~hole).float().unsqueeze(1)}


#: Operation -> draws the field of ``Augmentation`` that it sets, for so many samples of a shape.
OTHER_OPERATIONS: dict[str, Draw] = {
    "pad": _pad,
    "resize": _resize,
    "turn": _turn,
    "tint": _tint,
    "zoom": _zoom,
    "translate": _translate,
    "hole": _hole,
}
