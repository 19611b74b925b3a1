"""``.h5``: HDF5, whose data sets are read one by one; links into other files are not followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import BenchError, cut
from ..files import regular
from .contents import Collector, Contents, check_declared


def read_hdf5_file(path: Path) -> Contents:
    """Read all data sets of an HDF5 file.

    Raises:
        BenchError: h5py is not installed, a data set lies in another file or declares too much, or the file is damaged.
        OSError: it cannot be opened.
    """
    try:
        import h5py
    except ImportError as error:
        raise BenchError(f"reading {path} takes h5py; install it with: pip install 'ddbench[h5]'") from error
    found = Collector(path)
    datasets: dict[str, Any] = {}
    try:
        with h5py.File(regular(path), "r") as file:
            # Only what lies in this file is visited: soft and external links are left out.
            file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
            check_declared(path, sum(item.size * item.dtype.itemsize for item in datasets.values() if item.shape is not None))
            for name, item in datasets.items():
                _collect(found, name, item)
    except (BenchError, MemoryError):
        raise
    except Exception as error:  # whatever the library trips over in a damaged file
        what = cut(" ".join(str(error).split()), 120)
        raise BenchError(f"{path} cannot be read as HDF5 ({type(error).__name__}: {what}); get it again") from error
    return found.contents("an HDF5 file")


def _collect(found: Collector, name: str, item: Any) -> None:
    if item.is_virtual or item.external:
        raise BenchError(f"{found.path} keeps {name} in another file, which is not opened; have it stored in one file")
    if item.shape is None or item.dtype.kind not in "buif":
        found.remarks.append(f"{name} holds {item.dtype}, which is not read")
        return
    found.collect(item[()], name.replace("/", "."))
