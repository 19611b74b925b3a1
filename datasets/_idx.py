"""The idx files of MNIST and its relatives: four bytes that say what they are, sizes, then pixels or classes."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from bench import BenchError
from bench.errors import reason_of
from bench.file_kinds import kind_of
from bench.files import open_regular
from bench.guard import ForbiddenAccess

_MOST = 2**30  # bytes; the largest relative of MNIST (EMNIST) has half of it


def names_of(name: str) -> tuple[str, ...]:
    """Return the names under which an idx file is found: the official one, as some archives have it, and both compressed."""
    dotted = name.replace("-idx", ".idx")
    return (name, dotted, f"{name}.gz", f"{dotted}.gz")


def read_idx(folder: Path, name: str, dimensions: int) -> tuple[np.ndarray, Path]:
    """Read an idx file of 8-bit numbers, under the first of its names that is there.

    torchvision's own reader asserts what it expects and does not look at the length.

    Args:
        folder: where it lies.
        name: its official name.
        dimensions: 3 for images, 1 for labels.

    Returns:
        The numbers, and the file they come from.

    Raises:
        BenchError: it is not there, cannot be read, or is not such a file; says what it is instead.
    """
    file = next((folder / each for each in names_of(name) if os.path.exists(folder / each)), folder / name)
    content = _content(file)
    start = 4 * (1 + dimensions)
    if content[:4] != bytes((0, 0, 8, dimensions)):
        kind = {1: "labels", 3: "gray images"}[dimensions]
        raise BenchError(f"{file} must be an idx file of {kind}, but it holds {kind_of(content)}; {_remedy(file, content)}")
    if len(content) < start:
        raise BenchError(f"{file} ends after {len(content)} bytes, within its header; replace it")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) != start + math.prod(shape):
        raise BenchError(f"{file} says that it has {math.prod(shape)} numbers of {shape}, and holds {len(content) - start}; replace it")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape), file


def _content(file: Path) -> bytes:
    """Return what a file holds, unpacked; no more of it than any of these files has, since a few bytes can unpack to a terabyte."""
    try:
        with open_regular(file) as stream:
            content = stream.read(4)
            stream.seek(0)
            opened = gzip.GzipFile(fileobj=stream) if file.suffix == ".gz" else stream
            content = opened.read(_MOST + 1)
    except ForbiddenAccess:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BenchError(f"{file} is damaged or no gzip file, it holds {kind_of(content)} ({error}); replace it") from error
    except OSError as error:
        raise BenchError(f"{file} cannot be read ({reason_of(error)}); put the official file there") from error
    if len(content) > _MOST:
        raise BenchError(f"{file} holds more than {_MOST // 2**20} MiB, which no file of MNIST and its relatives does; replace it")
    return content


def _remedy(file: Path, content: bytes) -> str:
    return "unpack it, or let its name end in .gz" if kind_of(content) == "gzip data" and file.suffix != ".gz" else "replace it"
