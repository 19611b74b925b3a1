"""Data sets whose images lie in files of their own, JPEG and the like: listed, decoded, brought to one size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from .data import Spec, Split
from .errors import BenchError, reason_of
from .file_kinds import kind_of
from .files import open_regular
from .guard import ForbiddenAccess
from .held_out import held_out

if TYPE_CHECKING:
    from PIL.Image import Image

#: How an image of another shape becomes a square one: all of it, squeezed, or its middle as it is.
Resize = Literal["stretch", "crop"]

#: Endings of files that are taken for images, in small letters.
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")

# Pillow knows more formats; some of them run programs.
_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_MOST_THREADS = 8


@dataclass(frozen=True)
class ImageFiles:
    """Files of images, each with its class.

    Attributes:
        files: one path for each image, in the order of the data set.
        labels: class of each.
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def take(self, index: Iterable[int]) -> ImageFiles:
        """Return the images at ``index``, in that order."""
        chosen = list(index)
        return ImageFiles(tuple(self.files[i] for i in chosen), tuple(self.labels[i] for i in chosen))

    def counts(self, classes: int) -> list[int]:
        """Return the number of images of every class."""
        return np.bincount(np.array(self.labels, dtype=np.int64), minlength=classes).tolist()  # type: ignore[no-any-return]


def images_in(folder: Path) -> list[Path]:
    """Return the image files that lie in a folder, by name; hidden ones are none.

    Raises:
        OSError: the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders that lie in a folder, in order; hidden ones are none.

    Raises:
        OSError: the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def split_of_files(listed: ImageFiles, spec: Spec, resize: Resize) -> Split:
    """Decode files into a split.

    Raises:
        BenchError: a file cannot be decoded.
    """
    images = read_images(listed.files, spec.shape, resize)
    return Split(torch.from_numpy(images), torch.tensor(listed.labels, dtype=torch.int64))


def train_and_val_of_files(train: ImageFiles, val: ImageFiles | None, spec: Spec, resize: Resize) -> tuple[Split, Split]:
    """Decode training images, those for validation last, so that both are parts of one array and neither is a copy.

    Args:
        train: training images; without ``val`` some of them are held out.
        val: images for validation alone, if the data set has such.
        spec: names and shapes.
        resize: how images of other shapes become square.

    Raises:
        BenchError: a file cannot be decoded.
    """
    if val is None:
        out = held_out(torch.tensor(train.labels, dtype=torch.int64), spec.classes, spec.name).tolist()
        kept = sorted(set(range(len(train))) - set(out))
        train, val = train.take(kept), train.take(out)
    whole = split_of_files(ImageFiles(train.files + val.files, train.labels + val.labels), spec, resize)
    cut = len(train)
    return Split(whole.images[:cut], whole.labels[:cut]), Split(whole.images[cut:], whole.labels[cut:])


def read_images(files: Sequence[Path], shape: tuple[int, int, int], resize: Resize) -> np.ndarray:
    """Decode files into (n, c, h, w) uint8. Gray images get three equal channels where the data set has three.

    Args:
        files: one for each image.
        shape: channels, height and width that every image is to have.
        resize: how images of other shapes get there; with Pillow's bilinear filter, which averages where it shrinks.

    Raises:
        BenchError: a file is missing or damaged; names it.
    """
    images = np.empty((len(files), *shape), dtype=np.uint8)

    def read(index: int) -> None:
        images[index] = _read_image(files[index], shape, resize)

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(read, range(len(files))):
            pass
    return images


def _read_image(file: Path, shape: tuple[int, int, int], resize: Resize) -> np.ndarray:
    from PIL import Image  # here and not above: a data set that is kept decoded needs none

    try:
        with open_regular(file) as stream, Image.open(stream, formats=_FORMATS) as image:
            if image.mode in _DEEP:
                raise BenchError(f"{file} holds numbers of more than 8 bits; store it with 8 bits a channel")
            pixels = np.asarray(_fitted(_coloured(image, shape[0]), shape[2], shape[1], resize))
    except (BenchError, ForbiddenAccess, MemoryError):
        raise
    except Exception as error:  # a damaged file makes a decoder raise whatever it likes
        raise BenchError(f"{file} cannot be read as an image{_found(file)} ({reason_of(error)}); replace it") from error
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]


def _coloured(image: Image, channels: int) -> Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB" if channels == 3 else "L")


def _fitted(image: Image, width: int, height: int, resize: Resize) -> Image:
    from PIL import Image as pillow
    from PIL import ImageOps

    if image.size == (width, height):
        return image
    if resize == "crop":
        return ImageOps.fit(image, (width, height), pillow.Resampling.BILINEAR)
    return image.resize((width, height), pillow.Resampling.BILINEAR)


def _found(file: Path) -> str:
    try:
        with open_regular(file) as stream:
            return f", it holds {kind_of(stream.read(64))}"
    except OSError:
        return ""  # which the error says


def what_is_missing(of: str, *counts: tuple[str, int, int]) -> tuple[str, ...]:
    """Return a note on what a copy of a data set lacks, or none.

    Args:
        of: what it is a copy of.
        counts: kind of thing, how many there are, and how many the official files have.

    Example:
        >>> from bench.image_files import what_is_missing
        >>> what_is_missing("CUB-200-2011", ("classes", 20, 200), ("test images", 5794, 5794))
        ('a part of CUB-200-2011: 20 of 200 classes',)
    """
    lacking = ", ".join(f"{found:,} of {official:,} {kind}" for kind, found, official in counts if found != official)
    return (f"a part of {of}: {lacking}",) if lacking else ()
