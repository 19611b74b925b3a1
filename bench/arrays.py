"""Images and labels in arrays as people store them: what fits is read, and what does not is told with its remedy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from .errors import BenchError, reason_of
from .file_kinds import kind_of_file
from .files import read_text
from .guard import ForbiddenAccess


def read_array(file: Path, mode: Literal["r", "c"] = "r") -> np.ndarray:
    """Map the one array of an ``.npy`` file into memory; nothing in it is unpickled, and no image is read before it is used.

    Args:
        file: where it lies.
        mode: ``r`` for an array that cannot be changed, ``c`` for one whose changes never reach the file.

    Raises:
        BenchError: it is no regular file, or holds something else; says what.
    """
    if not file.is_file():  # a pipe would be waited for
        raise BenchError(f"{file} is not a regular file; put an array there with numpy.save")
    try:
        return np.lib.format.open_memmap(file, mode=mode)
    except (ForbiddenAccess, MemoryError):
        raise
    except Exception as error:
        # A header is text that numpy parses, so a broken one raises whatever a parser can raise.
        if "Python objects" in str(error):
            raise BenchError(f"{file} holds Python objects, not numbers; store plain arrays of numbers (numpy.stack)") from error
        why = " ".join(str(error).split())
        raise BenchError(
            f"{file} cannot be read as one numpy array, it holds {kind_of_file(file)} ({why}); write it with numpy.save"
        ) from error


def image_shape(images: np.ndarray, file: Path) -> tuple[int, int, int]:
    """Return (channels, height, width) of stored images, n x h x w [x c], of which nothing else is known.

    Raises:
        BenchError: no such shape can be told.
    """
    shape = images.shape
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise BenchError(f"{file} holds images of {shape[1:]}, channels first; store images.transpose(0, 2, 3, 1)")
    if len(shape) not in (3, 4) or not all(shape[1:]):
        raise BenchError(f"{file} holds an array of {shape}; images are (n, height, width, channels), or (n, height, width) for gray ones")
    return (shape[3] if len(shape) == 4 else 1), shape[1], shape[2]


def checked_images(images: np.ndarray, shape: tuple[int, int, int], file: Path) -> np.ndarray:
    """Return images as (n, c, h, w) uint8 in a memory order of its own, the only copy that is made of them.

    Args:
        images: n x h x w [x c].
        shape: (channels, height, width) that the data set has.
        file: where they lie, for the message.

    Raises:
        BenchError: they are of another type or shape, or none; says what was found and how to bring them into shape.
    """
    channels, height, width = shape
    needed = ", ".join(map(str, ("n", height, width, channels)))
    remedy = ""
    if images.dtype != np.uint8:
        remedy = _remedy_of_numbers(images)
    elif images.ndim == 4 and images.shape[1:] == shape != (height, width, channels):
        remedy = "store images.transpose(0, 2, 3, 1)"
    elif images.shape[1:] != (height, width, channels) and (channels, *images.shape[1:]) != (1, height, width):
        remedy = "bring them into this shape"
    elif not len(images):
        remedy = "it holds no image"
    if remedy:
        raise BenchError(f"{file} holds {images.dtype} {images.shape}, but uint8 ({needed}) is needed; {remedy}")
    whole = images if images.ndim == 4 else images[..., None]
    return np.array(whole.transpose(0, 3, 1, 2), order="C")


def _remedy_of_numbers(images: np.ndarray) -> str:
    if images.dtype.kind not in "fiu" or not images.size:
        return "store 8-bit numbers, numpy.uint8"
    least, most = float(images.min()), float(images.max())
    inside = f"they run from {least:g} to {most:g}"
    if least >= 0 and most <= 1 and images.dtype.kind == "f":
        return f"{inside}, so store numpy.rint(255 * images).astype(numpy.uint8)"
    if least >= 0 and most <= 255:
        return f"{inside}, so store numpy.rint(images).astype(numpy.uint8)"
    return f"{inside}, so scale them to 0..255 and store them as numpy.uint8"


def checked_labels(labels: np.ndarray, images: int, classes: int, file: Path) -> np.ndarray:
    """Return the class of every image as (n,) int64.

    Args:
        labels: what was stored.
        images: number of images.
        classes: number of classes.
        file: where they lie, for the message.

    Raises:
        BenchError: they are not one integer from 0 to ``classes - 1`` for each image; says what was found and the remedy.
    """
    if fault := _fault_of_labels(labels, images, classes):
        raise BenchError(f"{file} must hold {images} integers from 0 to {classes - 1}, one for each image; {fault}")
    return np.array(labels, dtype=np.int64)


def _fault_of_labels(labels: np.ndarray, images: int, classes: int) -> str:
    """Return what is wrong and how to mend it, or an empty string."""
    if fault := _fault_of_shape(labels, classes) or _fault_of_type(labels):
        return fault
    if len(labels) != images:
        return f"there are {len(labels)}, so store one label for each image"
    if not images:
        return "there are none"
    least, most = int(labels.min()), int(labels.max())
    if (least, most) == (1, classes):
        return f"they run from 1 to {classes}, so subtract 1"
    return f"they run from {least} to {most}, so correct those outside" if least < 0 or most >= classes else ""


def _fault_of_shape(labels: np.ndarray, classes: int) -> str:
    shape = labels.shape
    if len(shape) == 1:
        return ""
    if len(shape) == 2 and 1 in shape:
        return f"they have the shape {shape}, so store labels.ravel()"
    if len(shape) == 2 and shape[1] == classes and labels.dtype.kind in "biuf":
        one_hot = bool(((labels != 0).sum(1) == 1).all() and (labels.max(1) == 1).all())
        return f"they are {'one-hot' if one_hot else 'rows of scores'} {shape}, so store labels.argmax(1)"
    return f"they have the shape {shape}, so store one number for each image"


def _fault_of_type(labels: np.ndarray) -> str:
    kind = labels.dtype.kind
    if kind in "iu":
        return ""
    if kind == "b" or (kind == "f" and bool((np.isfinite(labels) & (labels == np.floor(labels))).all())):
        return f"they are {labels.dtype}, so store labels.astype(numpy.int64)"
    if kind in "US":
        return "they are texts, so store the position of each class in classes.txt"
    return f"they are {labels.dtype} and no whole numbers, so store the number of each class"


def read_class_names(file: Path) -> tuple[str, ...]:
    """Return the lines of ``classes.txt``, without empty ones.

    Raises:
        BenchError: it cannot be read, is no text, or names one class twice.
    """
    try:
        text = read_text(file).removeprefix("\ufeff")  # what some editors put before UTF-8
    except ForbiddenAccess:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{file} cannot be read as UTF-8 text ({reason_of(error)}); write one class name on each line") from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if odd := [name for name in names if not all(letter.isprintable() or letter.isspace() for letter in name)]:
        raise BenchError(f"{file} holds what is no text, {odd[0][:40]!r}; write one class name on each line")
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise BenchError(f"{file} names '{name}' {times} times; give every class a name of its own")
    return names
