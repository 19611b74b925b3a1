"""Asks a decoder questions: what does it say without its numbers, and how much hangs on each of them?

Every probe decodes the set with changed tensors. An honest decoder shows nothing when its numbers are gone, does not
look at labels to make images, and changes a little when its numbers change a little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ..data import Batch
from ..distilled import DistilledSet
from ..errors import RejectedSet
from ..seeding import stream
from .decoding import decode_closed, rebuilt

_DRAWS = (16, 4)  # of sets that store fewer, and at least a thousand numbers: few numbers agree by chance more often
_NOISE_SCALES = (1.0, 0.01)  # times the spread of the stored numbers
_FIXED_SHARE = 0.5  # largest share of the variance that may be common to all draws; independent draws share 1/16 or 1/4
_SEEN = 1e-4  # relative size of a pattern that counts as one
_PRECISION = 0.25  # largest relative change when the stored numbers are rounded
_WOBBLE = 2.0**-8  # times the spread of a tensor: the last bit of a byte
_BYTE_WOBBLE = 4  # of the 256 values of a uint8 image

Tensors = dict[str, Tensor]


def probe(distilled: DistilledSet, batch: Batch) -> None:
    """Put all questions to the decoder of a set that decodes to ``batch``.

    Raises:
        RejectedSet: an answer shows that images come from elsewhere than from image and other numbers, one each.
    """
    probe_null(distilled, batch)
    probe_noise(distilled, batch)
    probe_labels(distilled, batch)
    probe_precision(distilled, batch)


def probe_null(distilled: DistilledSet, batch: Batch) -> None:
    """Without its numbers a decoder gives the same flat image n times.

    Raises:
        RejectedSet: it gives a picture, so the decoder itself holds content.
    """
    empty = _decode(distilled, lambda key, t: torch.zeros_like(t), "zero")
    if not torch.isfinite(empty).all():
        return  # a decoder that divides by its numbers; the noise probe answers for it
    pattern = _rms(_without_flat(empty))
    if pattern > _SEEN * max(_rms(_without_flat(batch.images)), 1e-6):
        raise RejectedSet("the decoder shows a picture when all its numbers are zero; what it shows must be stored and counted")


def probe_noise(distilled: DistilledSet, batch: Batch) -> None:
    """Of random numbers a decoder makes random images, which have no pattern in common.

    Raises:
        RejectedSet: the images of independent draws share a pattern.
    """
    stored = sum(t.numel() for key, t in distilled.parameterization.state_dict().items() if _role(distilled, key) != "label")
    draws = _DRAWS[stored >= 1000]
    for scale in _NOISE_SCALES:
        total, squares, generator = torch.zeros_like(batch.images), 0.0, stream("audit", "noise", str(scale))
        draw = partial(_noise_like, scale=scale, generator=generator)
        for _ in range(draws):
            images = _decode(distilled, draw, "random")
            if not torch.isfinite(images).all():
                raise RejectedSet("the set decodes to numbers that are not finite when its own are replaced by random ones")
            images = _without_flat(images)
            total += images
            squares += float(images.double().square().mean()) / draws
        common = float((total.double() / draws).square().mean())
        if squares > (1e-7 * max(_rms(batch.images), 1e-6)) ** 2 and common > _FIXED_SHARE * squares:
            share = 100 * common / squares
            raise RejectedSet(f"{share:.0f} % of what the decoder shows does not depend on its numbers; it must be stored and counted")


def probe_labels(distilled: DistilledSet, batch: Batch) -> None:
    """Images do not depend on label tensors.

    Raises:
        RejectedSet: they do, so the labels store pixels.
    """
    if "label" not in {_role(distilled, key) for key in distilled.parameterization.state_dict()}:
        return
    images = _decode(distilled, lambda key, t: _other_labels(t, distilled.spec.classes), "changed", roles=("label",))
    if not torch.equal(images, batch.images):
        raise RejectedSet("the images change when the labels change; labels are not storage for pixels")


def probe_precision(distilled: DistilledSet, batch: Batch) -> None:
    """A stored number is one number: its last bits hardly matter.

    Raises:
        RejectedSet: rounding to bfloat16, or a wobble by the last bit of a byte, changes the images a lot.
    """
    spread = _rms(_without_flat(batch.images))
    generator = stream("audit", "wobble")
    changes: dict[str, Callable[[str, Tensor], Tensor]] = {
        "rounded to bfloat16": lambda key, t: _rounded(t),
        "moved by 1/256 of their spread": lambda key, t: _wobbled(t, _role(distilled, key), generator),
    }
    for what, change in changes.items():
        moved = _rms(_decode(distilled, change, what) - batch.images)
        if not moved <= _PRECISION * max(spread, 1e-6):
            raise RejectedSet(
                f"the images change by {100 * moved / max(spread, 1e-6):.0f} % when the stored numbers are {what}; "
                f"at most {100 * _PRECISION:.0f} % is allowed, because a number may not hold several"
            )


def _decode(
    distilled: DistilledSet, change: Callable[[str, Tensor], Tensor], what: str, roles: tuple[str, ...] = ("image", "other")
) -> Tensor:
    """Decode with the tensors of some roles changed; returns the images."""
    state: Mapping[str, Tensor] = distilled.parameterization.state_dict()
    changed = {key: change(key, t) if _role(distilled, key) in roles else t for key, t in state.items()}
    try:
        images = decode_closed(rebuilt(distilled, changed).parameterization).images
    except RejectedSet:
        raise
    except Exception as error:
        # A decoder that only works on the numbers it came with could tell a probe from the real thing.
        raise RejectedSet(f"decoding fails when the stored numbers are {what}: {type(error).__name__}: {error}") from error
    if len(images) != len(distilled.parameterization):
        raise RejectedSet(f"the number of images changes when the stored numbers are {what}; it is a matter of the config")
    return images


def _role(distilled: DistilledSet, key: str) -> str:
    return type(distilled.parameterization).roles[key]


def _without_flat(images: Tensor) -> Tensor:
    """Subtract each channel's mean over the whole set: what is left is a picture."""
    return images - images.mean((0, 2, 3), keepdim=True)


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def _noise_like(key: str, tensor: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Draw numbers of the kind of ``tensor``, which its decoder must be able to read."""
    del key
    if tensor.dtype == torch.bool:
        return torch.rand(tensor.shape, generator=generator) < 0.5
    if not tensor.is_floating_point():
        low, high = int(tensor.min()), int(tensor.max())
        return torch.randint(low, high + 1, tensor.shape, generator=generator, dtype=torch.int64).to(tensor.dtype)
    spread = float(tensor.double().square().mean().sqrt()) or 1.0
    return (torch.randn(tensor.shape, generator=generator) * (spread * scale)).to(tensor.dtype)


def _other_labels(tensor: Tensor, classes: int) -> Tensor:
    """Return other valid labels of the same form."""
    if tensor.dtype == torch.bool:
        return ~tensor
    if not tensor.is_floating_point():
        return (tensor + 1) % classes
    draw = torch.rand(tensor.shape, generator=stream("audit", "labels"))
    return (draw + 0.5 * tensor.float().flatten().roll(1).view(tensor.shape)).to(tensor.dtype)


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.to(torch.bfloat16).to(tensor.dtype) if tensor.is_floating_point() else tensor


def _wobbled(tensor: Tensor, role: str, generator: torch.Generator) -> Tensor:
    if tensor.is_floating_point():
        wide = tensor.double()
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        return (wide + noise * (_WOBBLE * wide.std(correction=0))).to(tensor.dtype)
    if tensor.dtype == torch.uint8 and role == "image":
        noise = torch.randint(-_BYTE_WOBBLE, _BYTE_WOBBLE + 1, tensor.shape, generator=generator)
        return (tensor.long() + noise).clamp(0, 255).to(torch.uint8)
    return tensor
