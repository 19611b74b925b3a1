"""In which coordinates the pixels of a released set are written: what their numbers say, and what they leave open.

Names of ``--space``: a space of ``bench.nn.spaces``, in which the numbers are taken as they are; ``rgb``, plain pixels from
0 to 1 or from 0 to 255, which students see through ``standard`` (``rgb:zca_kip``: through another space);
``normalised:NAME``, plain pixels less a published mean over a published deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import BenchError, unknown_name
from ..manifest import Coordinates
from ..nn.spaces import SPACES
from .constants import NORMALISATIONS, Normalisation, likely_normalisations
from .questions import Question
from .real_pixels import Look, RealPixels, look_of

RGB, STANDARD = "rgb", "standard"
_WHOLE = 2e-3  # how near to a whole number of 0 to 255 a pixel comes that was one
_LARGEST_UNIT = 16.0  # plain pixels beyond it are on the scale of 255


@dataclass(frozen=True)
class PixelSpace:
    """How stored numbers become what a set of this suite keeps.

    Attributes:
        name: as it is typed.
        seen: key of ``SPACES``: where students see the images.
        coordinates: of the numbers that are kept.
        constants: by which the file's numbers were normalised.
    """

    name: str
    seen: str
    coordinates: Coordinates
    constants: Normalisation | None = None

    def kept(self, images: np.ndarray) -> Tensor:
        """Return (n, c, h, w) numbers of a file as float32 in ``coordinates``."""
        numbers = torch.from_numpy(np.ascontiguousarray(images)).float()
        if self.constants is not None:
            mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.constants.mean, self.constants.std))
            return numbers * std + mean
        return numbers / 255.0 if self.coordinates == "rgb" and is_of_255(images) else numbers


def is_of_255(images: np.ndarray) -> bool:
    """Tell whether plain pixels are on the scale from 0 to 255."""
    return images.dtype == np.uint8 or float(images.max()) > _LARGEST_UNIT


def pixel_space(name: str, channels: int) -> PixelSpace:
    """Return the space that ``--space`` names.

    Raises:
        BenchError: there is none of that name, or it has another number of channels.
    """
    base, _, seen = name.partition(":") if name.startswith(RGB) else (name, "", "")
    if base == RGB and (seen or STANDARD) in SPACES:
        return PixelSpace(name, seen or STANDARD, "rgb")
    if name in SPACES:
        return PixelSpace(name, name, "space")
    if name not in NORMALISATIONS:
        raise unknown_name("pixel space", name, [*SPACES, RGB, *(f"{RGB}:{each}" for each in SPACES), *NORMALISATIONS])
    if len(NORMALISATIONS[name].mean) != channels:
        raise BenchError(
            f"the space {name} has {len(NORMALISATIONS[name].mean)} channels, and the images have {channels}; name another one"
        )
    return PixelSpace(name, STANDARD, "rgb", NORMALISATIONS[name])


@dataclass(frozen=True)
class SpaceGuess:
    """What the numbers say of their space.

    Attributes:
        certain: its name, or empty.
        plausible: those that the numbers allow, the likelier first.
        evidence: sentences.
    """

    certain: str
    plausible: tuple[str, ...]
    evidence: tuple[str, ...]

    def question(self) -> Question | None:
        """Return what is to be asked, or ``None``."""
        return None if self.certain else Question("space", "the pixel space is not certain", self.plausible)


def guess_space(images: np.ndarray, real: RealPixels | None) -> SpaceGuess:
    """Look at the numbers of (n, c, h, w) images.

    Args:
        images: as they are in the file.
        real: images of the data set to compare with, where they are there.
    """
    if (plain := _plain(images)) is not None:
        return SpaceGuess(RGB, (RGB,), (plain,))
    possible = [name for name, each in NORMALISATIONS.items() if len(each.mean) == images.shape[1]]
    for name in possible:
        off = _distance_from_bytes(pixel_space(name, images.shape[1]).kept(images))
        if off <= _WHOLE:
            said = f"with the constants of {name} undone, every pixel is a whole number from 0 to 255: real images, untouched"
            return SpaceGuess(name, (name,), (said,))
    look = look_of(torch.from_numpy(np.ascontiguousarray(images)).float())
    evidence = [
        f"the channels run from {look.bounds}; root mean square {look.size:.3g}; neighbouring pixels correlate by {look.likeness:.2f}"
    ]
    return _compared(look, likely_normalisations(real.mean()) if real else possible, real, evidence)


def _compared(look: Look, near: list[str], real: RealPixels | None, evidence: list[str]) -> SpaceGuess:
    """Sort out the spaces in which the neighbours of real images are alike to quite another degree."""
    scaled, whitened = near[:1] or [STANDARD], [name for name in SPACES if name != STANDARD]
    if real is None:
        return SpaceGuess("", (*scaled, *whitened), (*evidence, "the data set is not there to compare with"))
    plausible = []
    for name in (STANDARD, *whitened):
        found = real.look(name)
        low, high = found.likeness_range
        evidence.append(
            f"real images in {name}: {found.bounds}; root mean square {found.size:.3g}; "
            f"neighbours correlate by {found.likeness:.2f} ({low:.2f} to {high:.2f})"
        )
        # Distilling makes images less smooth than real ones; it does not make whitened ones as smooth as plain ones.
        if (look.likeness >= low) if name == STANDARD else (look.likeness <= high):
            plausible += scaled if name == STANDARD else [name]
    return SpaceGuess("", tuple(plausible) or (*scaled, *whitened), (*evidence, _verdict(plausible, scaled)))


def _verdict(plausible: list[str], scaled: list[str]) -> str:
    if not plausible:
        return "they are like real images in no space: distilled from noise, perhaps, or read in a wrong order"
    if set(plausible) <= set(scaled):
        return f"they are smooth as plain or normalised pixels are, so {scaled[0]} is likely; {STANDARD} differs by a factor per channel"
    if set(plausible) & set(scaled):
        return "they may be normalised or whitened"
    return f"they are far less smooth than plain or normalised pixels, so they are whitened, and {' or '.join(plausible)} is likely"


def contradiction(name: str, images: np.ndarray, guess: SpaceGuess) -> str:
    """Say that a space that was given is not one that the numbers allow; empty if it is.

    Raises:
        BenchError: there is no such space.
    """
    given = pixel_space(name, images.shape[1])
    allowed = [pixel_space(each, images.shape[1]) for each in guess.plausible]
    # Plain pixels are the same whatever students see them through, and constants scale channels like ``standard`` does.
    same = any(
        given.coordinates == each.coordinates and given.constants == each.constants for each in allowed if given.coordinates == "rgb"
    )
    scaled = any(each.constants is not None for each in allowed) and (given.constants is not None or name == STANDARD)
    if same or scaled or name in guess.plausible:
        return ""
    return f"the numbers speak against --space {name} ({guess.evidence[-1]}); students will probably learn little"


def _plain(images: np.ndarray) -> str | None:
    """Say why numbers are plain pixels, or return ``None``."""
    if images.dtype == np.uint8:
        return "they are 8-bit numbers: plain pixels"
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1 and high > 0.5:
        return f"they run from {low:.3g} to {high:.3g}, and none is negative: plain pixels on the scale from 0 to 1"
    if low >= 0 and 1 < high <= 255 and high > _LARGEST_UNIT:
        return f"they run from {low:.3g} to {high:.3g}: plain pixels on the scale from 0 to 255"
    return None


def _distance_from_bytes(unit: Tensor) -> float:
    """Return how far the pixels, on the scale from 0 to 1, are from whole 255ths within 0 and 1."""
    scaled = unit * 255.0
    return float((scaled - scaled.round().clamp(0, 255)).abs().max())
