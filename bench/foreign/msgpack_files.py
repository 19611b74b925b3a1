"""Checkpoints of Flax: msgpack with arrays as extension types, read within limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BenchError, cut
from ..files import read_bytes, regular
from .contents import Collector, Contents, check_declared

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3  # flax.serialization._MsgpackExtType
_CHUNKED = "__msgpack_chunked_array__"
_MOST_CONTAINERS = 1_000_000  # a map takes a byte in the file and 64 in memory; checkpoints have some hundred


def read_msgpack_file(path: Path) -> Contents:
    """Read a checkpoint that ``flax.training.checkpoints`` or ``flax.serialization.to_bytes`` wrote.

    Raises:
        BenchError: msgpack is not installed, an array does not have the bytes that it declares, or the file is damaged.
        OSError: it cannot be opened.
    """
    try:
        import msgpack
    except ImportError as error:
        raise BenchError(f"reading {path} takes msgpack; install it with: pip install 'ddbench[flax]'") from error
    check_declared(path, regular(path).stat().st_size)
    raw = read_bytes(path)
    try:
        # No list, text or map can claim more parts than the file has bytes: the limits of unpackb are its length.
        counted = _counted(path)
        loaded = msgpack.unpackb(raw, ext_hook=_extension, object_hook=counted, list_hook=counted, raw=False, strict_map_key=False)
        found = Collector(path)
        found.collect(_unchunked(loaded))
    except (BenchError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file makes of itself
        what = cut(" ".join(str(error).split()), 120)
        raise BenchError(f"{path} cannot be read as a checkpoint of Flax ({type(error).__name__}: {what}); get it again") from error
    return found.contents("a checkpoint of Flax")


def _counted(path: Path) -> Callable[[Any], Any]:
    """Return what sees every list and map of a file, and ends reading where there are too many."""
    seen = itertools.count(1)

    def look(container: Any) -> Any:
        if next(seen) > _MOST_CONTAINERS:
            raise BenchError(
                f"{path} has more than {_MOST_CONTAINERS:,} lists and maps, and a checkpoint of Flax has some hundred; get it again"
            )
        return container

    return look


def _extension(code: int, data: bytes) -> Any:
    if code in (_ARRAY, _SCALAR):
        return _array(data)
    raise BenchError(f"a checkpoint of Flax with an extension of type {code}{' (a complex number)' * (code == _COMPLEX)} is not read")


def _array(data: bytes) -> np.ndarray:
    """Return the array of a packed (shape, name of its type, bytes), whose bytes are as many as the shape says."""
    import msgpack

    shape, name, content = msgpack.unpackb(data, raw=False)
    name = name.decode() if isinstance(name, bytes) else name
    if name == "bfloat16":  # the upper half of a float32
        wide = np.frombuffer(content, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(_checked(shape, len(content) // 2))
    dtype = np.dtype(name)
    if dtype.hasobject:
        raise BenchError(f"a checkpoint of Flax with an array of {name} is not read; it holds no numbers")
    return np.frombuffer(content, dtype).reshape(_checked(shape, len(content) // dtype.itemsize))


def _checked(shape: Any, count: int) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if math.prod(sizes) != count or min(sizes, default=1) < 0:
        raise BenchError(f"a checkpoint of Flax declares an array of {sizes} and holds {count} numbers of it; it is damaged")
    return sizes


def _unchunked(found: Any) -> Any:
    """Put arrays together that Flax cuts into chunks of less than 2 GiB."""
    if isinstance(found, dict):
        if _CHUNKED in found:
            chunks = found["chunks"]
            parts = [chunks[str(index)] for index in range(len(chunks))]
            joined = np.concatenate([np.ravel(part) for part in parts])
            return joined.reshape(_checked(found["shape"].values() if isinstance(found["shape"], dict) else found["shape"], joined.size))
        return {key: _unchunked(value) for key, value in found.items()}
    return [_unchunked(value) for value in found] if isinstance(found, list) else found
