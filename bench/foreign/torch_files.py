"""``.pt`` and ``.pth``: what ``torch.save`` wrote, read without running anything that a file may ask for.

``torch.load(weights_only=True)`` builds tensors and plain containers. Beside these, numpy's scalars and arrays are
allowed, since results are often saved with them, and nothing else: a file that asks for another function is refused by
its name.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy._core import multiarray

from ..errors import BenchError, cut
from ..files import open_regular
from .contents import Collector, Contents, check_declared, check_member_name

_ASKED = re.compile(r"GLOBAL ([\w.]+)")
_INTEGERS = frozenset(("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG"))
_KEPT = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "DUP"))


def _latin1(text: str, codec: str) -> bytes:
    """Do for bytes of numpy in old pickles what ``_codecs.encode`` did, for their one codec."""
    if codec != "latin1":
        raise pickle.UnpicklingError(f"GLOBAL _codecs.encode with {codec}")
    return text.encode("latin1")


def _allowed() -> list[Any]:
    """Return what a file may name beside tensors: numpy's scalars, arrays and their types, under old and new names."""
    allowed: list[Any] = [(_latin1, "_codecs.encode"), (np.dtype, "numpy.dtype"), (np.ndarray, "numpy.ndarray")]
    for home in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed += [(multiarray.scalar, f"{home}.scalar"), (multiarray._reconstruct, f"{home}._reconstruct")]
    return [*allowed, *(getattr(np.dtypes, name) for name in np.dtypes.__all__ if name not in ("ObjectDType", "VoidDType"))]


def read_torch_file(path: Path) -> Contents:
    """Read a file of ``torch.save``, in today's zip format or in the older one.

    Raises:
        BenchError: it asks for something other than numbers, declares too much, or is damaged.
        OSError: it cannot be opened.
    """
    with open_regular(path) as stream:
        head = stream.read(2)
        if zipfile.is_zipfile(stream):
            _check_archive(path, stream)
        elif head.startswith(b"PK"):
            raise BenchError(f"{path} is a zip archive without its end, so it was cut off; get it again")
        else:
            _check_storages(path, stream)
        stream.seek(0)
        loaded = _load(path, stream)
    found = Collector(path)
    found.collect(loaded)
    return found.contents("a file of torch.save")


def _load(path: Path, stream: BinaryIO) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_allowed()):
            warnings.simplefilter("ignore")  # what torch says of old formats is for whoever wrote them
            return torch.load(stream, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # The reader of a damaged file raises whatever its parts can raise.
        if asked := _ASKED.search(str(error)):
            raise BenchError(
                f"{path} asks for {cut(asked[1])} to be called when it is read; only numbers are read, and nothing of it was run: "
                "have it saved as plain tensors"
            ) from error
        why = cut(" ".join(str(error).split()).partition(" This file can still be loaded")[0], 120)
        raise BenchError(f"{path} cannot be read as a file of torch.save ({type(error).__name__}: {why}); get it again") from error


def _check_archive(path: Path, stream: BinaryIO) -> None:
    """Look at the list of an archive before anything in it is unpacked."""
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BenchError(f"{path} is a damaged zip archive ({error}); get it again") from error
    for member in members:
        check_member_name(path, member.filename)
    check_declared(path, sum(member.file_size for member in members))


def _check_storages(path: Path, stream: BinaryIO) -> None:
    """Compare the storages that a file of the older format declares with its length: each number takes a byte at least.

    Room is made for a storage when its name is read, before its numbers are.
    """
    length = stream.seek(0, 2)
    stream.seek(0)
    check_declared(path, length)
    try:
        declared = _declared_numbers(stream)
    except Exception as error:  # whatever the opcodes of a damaged pickle trip over
        what = cut(" ".join(str(error).split()), 80)
        raise BenchError(
            f"{path} is neither an archive nor a pickle of torch.save ({type(error).__name__}: {what}); get it again"
        ) from error
    if declared > length:
        raise BenchError(f"{path} declares {declared:,} stored numbers, and the whole file has {length:,} bytes; it is damaged")


def _declared_numbers(stream: BinaryIO) -> int:
    """Sum the lengths of the storages that the fourth pickle of the file names; nothing is built."""
    for _ in range(3):  # a magic number, the version, the machine
        for _ in pickletools.genops(stream):
            pass
    storages: dict[str, int] = {}
    for key, numbers in _storages(stream):
        storages[key] = max(numbers, storages.get(key, 0))
    return sum(storages.values())


def _storages(stream: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield key and length of every storage: texts and whole numbers since the tuple began that ends in a persistent id."""
    texts: list[str] = []
    numbers: list[int] = []
    before = ""
    for opcode, argument, _ in pickletools.genops(stream):
        if before in _INTEGERS and opcode.name in _KEPT:  # it could be a length that is fetched where this does not see it
            raise ValueError("it keeps a number to use it again, which no pickle of Python does")
        before = opcode.name
        if opcode.name == "MARK":
            texts, numbers = [], []
        elif isinstance(argument, str):
            texts.append(argument)
        elif opcode.name in _INTEGERS and isinstance(argument, int):
            numbers.append(argument)
        elif opcode.name in ("BINPERSID", "PERSID"):
            yield " ".join(text for text in texts if text.isdigit()) or str(texts), max(map(abs, numbers), default=0)
