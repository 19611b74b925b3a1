"""Augmentations: differentiable, per sample, drawn from an explicit generator (DSA, Zhao & Bilen 2021).

A strategy is ``none`` or operations joined by underscores, e.g. ``flip_rotate`` (PoDD, RaT-BPTT) or
``color_crop_cutout_flip_scale_rotate`` (DSA). As in the authors' single-operation mode, one operation is drawn per
batch and every sample draws its own parameters; with ``each`` in front (``each_pad_resize_turn``, DC) every sample
draws its own operation, too. ``bench.nn.operations`` has the operations of papers other than DSA. Zero padding acts in
the space the images are in. All geometric operations are one affine resampling, so the batches of several students are
augmented in one call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BenchError
from .operations import OTHER_OPERATIONS

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate", *OTHER_OPERATIONS)
_EACH = "each_"
_MAX_ANGLE = math.radians(15.0)
_MAX_SCALE = 1.2
_CROP_SHARE = 0.125
_CUTOUT_SHARE = 0.5
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
_NO_COLOR = (0.0, 1.0, 1.0)


def parse_strategy(strategy: str) -> tuple[str, ...]:
    """Split a strategy into its operations; ``none`` has none, and ``each`` is none.

    Raises:
        BenchError: an operation does not exist.

    Example:
        >>> from bench.nn.augment import parse_strategy
        >>> parse_strategy("flip_rotate"), parse_strategy("none")
        (('flip', 'rotate'), ())
    """
    if strategy in ("none", ""):
        return ()
    operations = tuple(strategy.removeprefix(_EACH).split("_"))
    for operation in operations:
        if operation not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise BenchError(f"unknown augmentation '{operation}' in '{strategy}'; join some of {known} by underscores, or say none")
    return operations


@dataclass(frozen=True)
class Augmentation:
    """Parameters drawn for n samples; ``None`` stands for neutral.

    Attributes:
        affine: (n, 2, 3) map from output to input coordinates, as ``affine_grid`` takes it.
        color: (n, 3) brightness shift, saturation factor, contrast factor.
        keep: (n, 1, h, w) mask of pixels that stay.

    Example:
        >>> import torch
        >>> from bench.nn.augment import draw
        >>> drawn = draw("flip_rotate", count=4, shape=(1, 8, 8), generator=torch.Generator().manual_seed(0))
        >>> images = torch.rand(4, 1, 8, 8, requires_grad=True)
        >>> drawn(images).shape, drawn(images).requires_grad
        (torch.Size([4, 1, 8, 8]), True)
    """

    affine: Tensor | None = None
    color: Tensor | None = None
    keep: Tensor | None = None

    def repeated(self, count: int) -> Augmentation:
        """Return the parameters of one sample as those of ``count`` samples (siamese augmentation, DSA).

        Example:
            >>> import torch
            >>> from bench.nn.augment import draw
            >>> drawn = draw("rotate", count=1, shape=(1, 8, 8), generator=torch.Generator().manual_seed(0))
            >>> drawn.repeated(3).affine.shape
            torch.Size([3, 2, 3])
        """
        parts = (self.affine, self.color, self.keep)
        return Augmentation(*(None if part is None else part.expand(count, *part.shape[1:]) for part in parts))

    def __call__(self, images: Tensor) -> Tensor:
        """Apply to (n, c, h, w) images, differentiably."""
        if self.color is not None:
            brightness, saturation, contrast = self.color.to(images).view(-1, 3, 1, 1, 1).unbind(1)
            images = images + brightness
            gray = images.mean(1, keepdim=True)
            images = (images - gray) * saturation + gray
            mean = images.mean((1, 2, 3), keepdim=True)
            images = (images - mean) * contrast + mean
        if self.affine is not None:
            grid = F.affine_grid(self.affine.to(images), list(images.shape), align_corners=False)
            images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        if self.keep is not None:
            images = images * self.keep.to(images)
        return images

    def take(self, index: Tensor) -> Augmentation:
        """Return the parameters of the samples at ``index`` (n,)."""
        return Augmentation(*(None if drawn is None else drawn[index] for drawn in (self.affine, self.color, self.keep)))


def draw(strategy: str, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Augmentation:
    """Draw one operation of ``strategy``, or one for each sample, and its parameters for ``count`` samples.

    Args:
        strategy: see the module's docstring.
        count: number of samples.
        shape: channels, height and width of a sample.
        generator: a CPU generator.

    Example:
        >>> import torch
        >>> from bench.nn.augment import draw
        >>> drawn = draw("cutout", count=2, shape=(1, 8, 8), generator=torch.Generator().manual_seed(0))
        >>> drawn.keep.shape, drawn.affine is None
        (torch.Size([2, 1, 8, 8]), True)
    """
    operations = parse_strategy(strategy)
    if not operations:
        return Augmentation()
    if strategy.startswith(_EACH):
        picks = torch.randint(len(operations), (count,), generator=generator)
        everything = join([_draw_one(operation, count, shape, generator) for operation in operations], count, shape)
        return everything.take(picks * count + torch.arange(count))
    pick = int(torch.randint(len(operations), (1,), generator=generator)) if len(operations) > 1 else 0
    return _draw_one(operations[pick], count, shape, generator)


def _draw_one(operation: str, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Augmentation:
    if operation in OTHER_OPERATIONS:
        return Augmentation(**OTHER_OPERATIONS[operation](count, shape, generator))
    if operation == "color":
        return Augmentation(color=_draw_color(count, generator))
    if operation == "cutout":
        return Augmentation(keep=_draw_cutout(count, shape, generator))
    return Augmentation(affine=_draw_affine(operation, count, shape, generator))


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(count).uniform_(low, high, generator=generator)


def _draw_color(count: int, generator: torch.Generator) -> Tensor:
    return torch.stack(
        [
            _uniform(count, -0.5, 0.5, generator),  # brightness, added
            _uniform(count, 0.0, 2.0, generator),  # saturation, factor around the pixel's gray
            _uniform(count, 0.5, 1.5, generator),  # contrast, factor around the image's mean
        ],
        dim=1,
    )


def _draw_cutout(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Zero a box of half the height and width whose centre is uniform over the image."""
    mask = torch.ones(count, 1, *shape[1:])
    inside = torch.ones(count, 1, 1, 1, dtype=torch.bool)
    for axis, size in ((2, shape[1]), (3, shape[2])):
        box = int(_CUTOUT_SHARE * size + 0.5)
        centre = torch.randint(size + (1 - box % 2), (count, 1, 1, 1), generator=generator)
        view = [1, 1, 1, 1]
        view[axis] = size
        offset = torch.arange(size).view(view) - centre + box // 2
        inside = inside & (offset >= 0) & (offset < box)
    return mask.masked_fill(inside, 0.0)


def _draw_affine(operation: str, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    affine = torch.tensor(_IDENTITY).repeat(count, 1, 1)
    if operation == "flip":
        affine[:, 0, 0] = torch.where(_uniform(count, 0.0, 1.0, generator) < 0.5, -1.0, 1.0)
    elif operation == "scale":
        affine[:, 0, 0] = _uniform(count, 1 / _MAX_SCALE, _MAX_SCALE, generator)
        affine[:, 1, 1] = _uniform(count, 1 / _MAX_SCALE, _MAX_SCALE, generator)
    elif operation == "rotate":
        angle = _uniform(count, -_MAX_ANGLE, _MAX_ANGLE, generator)
        affine[:, 0, 0], affine[:, 0, 1] = angle.cos(), -angle.sin()
        affine[:, 1, 0], affine[:, 1, 1] = angle.sin(), angle.cos()
    else:  # crop: shift by whole pixels, at most an eighth of the image
        for row, size in ((0, shape[2]), (1, shape[1])):
            limit = int(_CROP_SHARE * size + 0.5)
            shift = torch.randint(-limit, limit + 1, (count,), generator=generator)
            affine[:, row, 2] = shift * (2.0 / size)
    return affine


def join(parts: Sequence[Augmentation], count: int, shape: tuple[int, int, int]) -> Augmentation:
    """Join the augmentations of several students, ``count`` samples each, into one for all their samples in order."""
    affine = color = keep = None
    if any(part.affine is not None for part in parts):
        neutral = torch.tensor(_IDENTITY).repeat(count, 1, 1)
        affine = torch.cat([neutral if part.affine is None else part.affine for part in parts])
    if any(part.color is not None for part in parts):
        neutral = torch.tensor(_NO_COLOR).repeat(count, 1)
        color = torch.cat([neutral if part.color is None else part.color for part in parts])
    if any(part.keep is not None for part in parts):
        neutral = torch.ones(count, 1, *shape[1:])
        keep = torch.cat([neutral if part.keep is None else part.keep for part in parts])
    return Augmentation(affine, color, keep)
