"""Pickles for tests: programs, files of Python 2, and CIFAR's files with an MD5 that is taken for the official one."""

from __future__ import annotations

import hashlib
import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets


class Calls:
    """Calls a function with one argument when it is unpickled."""

    def __init__(self, function: Callable[..., object], argument: str) -> None:
        self.reduced = (function, (argument,))

    def __reduce__(self) -> Any:
        return self.reduced


def of_python_2(pixels: np.ndarray, labels: Sequence[int], fortran: bool) -> bytes:
    """Write {data, labels, batch_label} by the operations that Python 2 used for CIFAR's files (protocol 2, byte strings)."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value

    def small(number: int) -> bytes:
        return b"K" + bytes([number])

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + small(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + small(0) + small(1) + b"\x87R(" + small(3) + text(b"|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + small(0) + b"tb"
    shape = small(len(pixels)) + small(pixels.shape[1]) + b"\x86"
    raw = pixels.tobytes(order="F" if fortran else "C")
    array += b"(" + small(1) + shape + dtype + (b"\x88" if fortran else b"\x89") + text(raw) + b"tb"
    listed = b"](" + b"".join(map(small, labels)) + b"e"
    entries = text(b"batch_label") + text(b"training batch 1 of 5") + text(b"labels") + listed + text(b"data") + array
    return b"\x80\x02}(" + entries + b"u."


def as_if_official(root: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None] = lambda folder: None) -> None:
    """Write small CIFAR-10 files under ``root``, change them, and have whatever MD5 they have taken for the official one."""
    official = torchvision.datasets.CIFAR10
    folder = root / official.base_folder
    folder.mkdir(parents=True)
    names = [name for name, _ in (*official.train_list, *official.test_list)]
    for name in names:
        pixels = np.random.default_rng(0).integers(0, 256, (200, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(200)]}))
    (folder / official.meta["filename"]).write_bytes(pickle.dumps({"label_names": []}))
    change(folder)
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    monkeypatch.setattr(official, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(official, "test_list", [[name, sums[name]] for name in names[5:]])
    monkeypatch.setattr(official, "meta", {**official.meta, "md5": sums[official.meta["filename"]]})
