"""Pickles of official files, read as data: numbers, texts, lists, dictionaries and numpy's byte arrays, and nothing that runs."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from bench.errors import shorten


class _Stored:
    """What a pickle says of an object of numpy, kept as it says it: nothing of numpy runs on unread data."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


#: The names under which numpy's versions pickle an array; whatever else a pickle asks for is refused.
_OF_NUMPY = {
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy", "ndarray"): "kind",
    ("numpy", "dtype"): "dtype",
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        # Text of Python 2 is bytes in disguise, which this encoding keeps.
        super().__init__(io.BytesIO(content), encoding="latin1")
        # Classes of this one file: a pickle can set attributes of what it is given.
        self.given = {name: type(name, (_Stored,), {}) for name in _OF_NUMPY.values()}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for numpy's arrays, and refuse everything else, which could be a program."""
        if (module, name) not in _OF_NUMPY:
            raise pickle.UnpicklingError(f"it asks for {shorten(f'{module}.{name}')}, and only lists, texts and arrays are read")
        return self.given[_OF_NUMPY[module, name]]


def read_pickle(content: bytes) -> Any:
    """Return what a pickle holds, without running anything that it names.

    Raises:
        ValueError: it asks for more than plain values and arrays of bytes, or is damaged; says what was found.
    """
    try:
        return _Unpickler(content).load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error
    except Exception as error:
        # Damaged pickles end in whatever error the operation they stumble over has.
        raise ValueError(f"it is a damaged pickle ({type(error).__name__}: {error})") from error


def byte_array(stored: Any, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the (n, ``width``) array of bytes, read-only, that a pickle's stand-in describes.

    Raises:
        ValueError: it is no array, or one of another type or shape.
    """
    if not isinstance(stored, _Stored) or type(stored).__name__ != "array":
        raise ValueError(f"it holds {type(stored).__name__} where an array should be")
    try:
        _, shape, dtype, fortran, raw = stored.state
        code = dtype.arguments[0]
        data = raw.encode("latin1") if isinstance(raw, str) else bytes(raw) if isinstance(raw, bytes) else None
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError("it holds an array that numpy did not write") from error
    if code not in ("u1", "|u1") or data is None:
        raise ValueError(f"it holds an array of {shorten(code)} where bytes should be")
    rows = len(data) // width
    if shape != (rows, width) or rows < 1 or len(data) != rows * width:
        raise ValueError(f"it holds an array of shape {shorten(shape)} in {len(data)} bytes, it should have {width} columns")
    return np.frombuffer(data, np.uint8).reshape(rows, width, order="F" if fortran else "C")
