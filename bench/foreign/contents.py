"""What a file of somebody else holds: named arrays, and nothing that could do anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import BenchError, cut, one_line, shorten
from ..files import reaches_outside

#: Bytes of all arrays of one file; a distilled set is far smaller, and what declares more would only fill the memory.
MOST_BYTES = 2**31
_MOST_LEAVES = 100_000
_DEEPEST = 32
_LONGEST_NAME = 200


@dataclass(frozen=True)
class NamedArray:
    """One array of a file.

    Attributes:
        name: where it lies in the file, e.g. ``params.x_proto``; the stem of a file that holds one nameless array. Printable, and short.
        values: its numbers, of a type and in a byte order that torch has, too.
        file: the file's name.
    """

    name: str
    values: np.ndarray
    file: str

    @property
    def about(self) -> str:
        """Name, type and shape, as a sentence shows them."""
        return f"{self.name} ({self.values.dtype}, {'x'.join(map(str, self.values.shape)) or 'one number'})"


@dataclass(frozen=True)
class Contents:
    """What was read from one file or folder.

    Attributes:
        path: the file.
        kind: what kind of file it is, in words.
        arrays: its arrays.
        remarks: sentences about what else is in it.
    """

    path: Path
    kind: str
    arrays: tuple[NamedArray, ...]
    remarks: tuple[str, ...] = ()


def check_declared(path: Path, size: int) -> None:
    """Refuse a file before room is made for what it says it holds.

    Raises:
        BenchError: it declares more than ``MOST_BYTES``.
    """
    if size > MOST_BYTES:
        raise BenchError(f"{path} declares {size:,} bytes of content, and no more than {MOST_BYTES:,} are read; give a smaller file")


def check_member_name(path: Path, name: str) -> None:
    """Refuse an archive one of whose members would lie outside of it, were it ever unpacked.

    Raises:
        BenchError: names the member.
    """
    if reaches_outside(name):
        raise BenchError(f"{path} has a member called {shorten(name)}, which would lie outside of it; nothing of it is read")


@dataclass
class Collector:
    """Takes nested dictionaries and lists apart into named arrays, within limits.

    Attributes:
        path: the file, for messages and names.
        arrays: what was found.
        remarks: what else there was.
    """

    path: Path
    arrays: list[NamedArray] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _bytes: int = 0
    _leaves: int = 0

    def contents(self, kind: str) -> Contents:
        """Return everything that was found.

        Raises:
            BenchError: there is no array at all.
        """
        if not self.arrays:
            raise BenchError(f"{self.path} holds no array of numbers; give the file that has the images")
        return Contents(self.path, kind, tuple(self.arrays), tuple(self.remarks))

    def collect(self, found: Any, name: str = "", depth: int = 0) -> None:
        """Add ``found``, whatever it is, under ``name``.

        Raises:
            BenchError: it is nested too deeply, holds too much, or an array of something other than numbers.
        """
        self._leaves += 1
        if depth > _DEEPEST or self._leaves > _MOST_LEAVES:
            raise BenchError(
                f"{self.path} is nested too deeply or in too many parts to be a distilled set; give the file that has the images"
            )
        if isinstance(found, Mapping):
            for key, value in found.items():
                self.collect(value, _joined(name, str(key)), depth + 1)
        elif isinstance(found, (list, tuple)):
            self._collect_list(found, name, depth)
        else:
            self._leaf(found, name)

    def _collect_list(self, found: list[Any] | tuple[Any, ...], name: str, depth: int) -> None:
        """Add a list: of single numbers as one array, of equal single images as their stack, and else one by one."""
        if found and all(isinstance(each, (bool, int, float, np.number)) for each in found):
            self._leaves += len(found)
            self._leaf(np.array(found), name)
            return
        if len(found) > 1 and len({_shape_of(each) for each in found}) == 1 and len(_shape_of(found[0])) == 3:
            self._check_size(sum(_size_of(each) for each in found))
            self._leaf(np.stack([_as_array(each) for each in found]), name)
            return
        for index, value in enumerate(found):
            self.collect(value, _joined(name, str(index)), depth + 1)

    def _leaf(self, found: Any, name: str) -> None:
        name = cut(one_line(name or self.path.stem), _LONGEST_NAME)
        if isinstance(found, torch.Tensor) and not _is_plain(found):
            self.remarks.append(f"{name} is a {found.dtype} {found.layout} tensor, which is not read")
            return
        if isinstance(found, (torch.Tensor, np.ndarray, np.number, bool, int, float)):
            self._check_size(_size_of(found))
            self._add(_as_array(found), name)
        elif found is not None:
            self.remarks.append(f"{name} is {shorten(found) if isinstance(found, str) else f'a {type(found).__name__}'}, which is not read")

    def _check_size(self, size: int) -> None:
        """Count the bytes before they are laid out: a tensor of one number can be expanded to any size."""
        self._bytes += size
        check_declared(self.path, self._bytes)

    def _add(self, values: np.ndarray, name: str) -> None:
        if values.dtype.kind not in "buif":
            raise BenchError(f"{self.path} holds {name} as {values.dtype}, not numbers; store it as numbers")
        native = np.dtype(np.float64) if values.dtype.kind == "f" and values.itemsize > 8 else values.dtype.newbyteorder("=")
        # Bytes that were read as they are cannot be written to, which torch would warn of.
        plain = values.astype(native, copy=not values.flags.writeable)
        self.arrays.append(NamedArray(name, plain, self.path.name))


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _shape_of(found: Any) -> tuple[int, ...]:
    return tuple(found.shape) if isinstance(found, (torch.Tensor, np.ndarray)) else ()


def _size_of(found: Any) -> int:
    if isinstance(found, torch.Tensor):
        return found.numel() * found.element_size()
    return found.nbytes if isinstance(found, np.ndarray) else 8


def _is_plain(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is a grid of numbers that lie there, each in a place of its own."""
    packed = tensor.is_quantized or tensor.is_complex() or tensor.dtype not in _NUMBERS
    return tensor.layout == torch.strided and not packed and not tensor.is_meta


_OF_NUMPY = frozenset(
    (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64)
    + (torch.float16, torch.float32, torch.float64)
)
_NUMBERS = _OF_NUMPY | {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz}


def _as_array(found: Any) -> np.ndarray:
    """Return a plain array; types that numpy lacks become float32."""
    if isinstance(found, torch.Tensor):
        plain = found.detach().resolve_neg().cpu()
        return (plain if plain.dtype in _OF_NUMPY else plain.float()).numpy()
    return np.asarray(found)


def finite_in_float32(values: np.ndarray) -> bool:
    """Tell whether all numbers are finite as sets of this suite keep them."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(np.float32, copy=False)).all())


def names_of(arrays: Iterable[NamedArray]) -> str:
    """Return the names of some arrays in a row."""
    return ", ".join(array.name for array in arrays)
