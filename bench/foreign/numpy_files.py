"""``.npy`` and ``.npz``: numpy's own files, in which nothing is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy

from ..arrays import read_array
from ..errors import BenchError, cut
from ..files import open_regular
from .contents import Collector, Contents, check_declared, check_member_name


def read_npy_file(path: Path) -> Contents:
    """Read the one array of an ``.npy`` file.

    Raises:
        BenchError: it holds Python objects, or is damaged.
    """
    mapped = read_array(path)
    check_declared(path, mapped.nbytes)
    found = Collector(path)
    found.collect(np.array(mapped))
    return found.contents("an array of numpy.save")


def read_npz_file(path: Path) -> Contents:
    """Read all arrays of an ``.npz`` archive, each no larger than the archive says.

    Raises:
        BenchError: a member would lie elsewhere, holds Python objects or declares too much, or the archive is damaged.
        OSError: it cannot be opened.
    """
    found = Collector(path)
    with open_regular(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                for member in archive.infolist():
                    check_member_name(path, member.filename)
                check_declared(path, sum(member.file_size for member in archive.infolist()))
                for member in archive.infolist():
                    with archive.open(member) as part:
                        values = _read_member(path, member, cast(BinaryIO, part))
                    found.collect(values, member.filename.removesuffix(".npy"))
        except (BenchError, MemoryError):
            raise
        except Exception as error:  # a header is text that numpy parses, and a member anything that inflates
            what = cut(" ".join(str(error).split()), 120)
            raise BenchError(
                f"{path} cannot be read as an archive of numpy.savez ({type(error).__name__}: {what}); get it again"
            ) from error
    return found.contents("an archive of numpy.savez")


def _read_member(path: Path, member: zipfile.ZipInfo, part: BinaryIO) -> np.ndarray:
    """Read one array, after its header is compared with the size of the member: room is made for what the header says."""
    version = npy.read_magic(part)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(part)
    if dtype.hasobject:
        raise BenchError(f"{path} holds Python objects in {member.filename}, which are not unpickled; have it saved as plain numbers")
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise BenchError(f"{path} declares an array of {shape} in {member.filename}, which has {member.file_size:,} bytes; it is damaged")
    part.seek(0)
    return npy.read_array(part, allow_pickle=False)
