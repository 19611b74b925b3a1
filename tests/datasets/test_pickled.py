"""Pickles read as data: what numpy and Python 2 wrote comes back, and whatever would run is refused."""

from __future__ import annotations

import builtins
import contextlib
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pickles import Calls, as_if_official, of_python_2

from bench import BenchError, DataOptions, load_dataset
from bench.datasets._pickled import byte_array, read_pickle

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 12), dtype=np.uint8)


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_numpy_comes_back(protocol: int, order: Any) -> None:
    held = read_pickle(pickle.dumps({"data": np.array(PIXELS, order=order), "labels": [3, 1]}, protocol))
    assert np.array_equal(byte_array(held["data"], 12), PIXELS)
    assert held["labels"] == [3, 1]


@pytest.mark.parametrize("fortran", [False, True])
def test_an_array_of_python_2_comes_back(fortran: bool) -> None:
    held = read_pickle(of_python_2(PIXELS, [3, 1], fortran))
    assert set(held) == {"data", "labels", "batch_label"}
    assert np.array_equal(byte_array(held["data"], 12), PIXELS)
    assert np.array_equal(byte_array(held["data"], 12), pickle.loads(of_python_2(PIXELS, [3, 1], fortran), encoding="latin1")["data"])


#: What the pickle asks for, or what is said where it asks for nothing by name.
MALICIOUS: dict[str, tuple[bytes, str]] = {
    "a program": (pickle.dumps(Calls(os.mkdir, "unpickled")), "posix.mkdir"),
    "a program inside": (pickle.dumps({"data": [Calls(os.mkdir, "unpickled")]}), "posix.mkdir"),
    "protocol 0": (pickle.dumps(Calls(os.mkdir, "unpickled"), 0), "posix.mkdir"),
    "eval": (pickle.dumps(Calls(builtins.eval, "open('unpickled', 'w')")), "builtins.eval"),
    "a way around": (b"cnumpy\nload\n(S'unpickled'\ntR.", "numpy.load"),
    "another attribute": (b"\x80\x04\x8c\x05numpy\x8c\x0fmultiarray.exec\x93.", "numpy.multiarray.exec"),
    "any class": (pickle.dumps(OrderedDict(data=[])), "collections.OrderedDict"),
    "an old instance": (b"(S'ls'\nios\nsystem\n.", "os.system"),
    "by number": (b"\x80\x02\x82\x01.", "unregistered extension code"),
    "by reference": (b"Pnumpy\n.", "persistent"),
}


@pytest.mark.parametrize(("content", "asked"), MALICIOUS.values(), ids=MALICIOUS)
def test_what_would_run_is_refused(content: bytes, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"it asks for '{asked}', and only lists, texts and arrays are read" if "." in asked else asked):
        read_pickle(content)
    assert not (tmp_path / "unpickled").exists()


def test_a_pickle_cannot_change_what_the_next_one_is_read_with() -> None:
    """BUILD sets attributes of whatever lies on the stack, here of the class that stands for numpy's dtype."""
    with pytest.raises(ValueError, match="damaged pickle"):
        read_pickle(b"\x80\x02cnumpy\ndtype\nN}(U\x08__init__K\x05U\x05stateK\x05u\x86b.")
    held = read_pickle(of_python_2(PIXELS, [1], False))
    assert np.array_equal(byte_array(held["data"], 12), PIXELS)


ARRAYS: dict[str, tuple[Any, str]] = {
    "no array": ([1, 2], "it holds list where an array should be"),
    "a type": (np.dtype("u1"), "it holds dtype where an array should be"),
    "floats": (np.zeros((2, 12), np.float32), "it holds an array of 'f4' where bytes should be"),
    "objects": (np.array([[None] * 12]), "it holds an array of 'O8' where bytes should be"),
    "fewer columns": (np.zeros((4, 6), np.uint8), r"it holds an array of shape \(4, 6\) in 24 bytes, it should have 12 columns"),
    "images": (np.zeros((2, 3, 4), np.uint8), r"it holds an array of shape \(2, 3, 4\)"),
    "nothing": (np.zeros((0, 12), np.uint8), r"it holds an array of shape \(0, 12\) in 0 bytes"),
}


@pytest.mark.parametrize(("array", "complaint"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_others_are_refused(array: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        byte_array(read_pickle(pickle.dumps(array, 4)), 12)


def test_a_shape_that_lies_makes_no_room() -> None:
    honest = of_python_2(PIXELS, [1], False)
    lie = honest.replace(b"K\x07K\x0c\x86", b"J\xff\xff\xff\x7fK\x0c\x86")
    assert lie != honest
    with pytest.raises(ValueError, match=r"shape \(2147483647, 12\) in 84 bytes"):
        byte_array(read_pickle(lie)["data"], 12)


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=6))
def test_damaged_pickles_are_read_or_refused(place: int, new: bytes) -> None:
    content = bytearray(of_python_2(PIXELS, [1] * 7, False))
    place %= len(content)
    content[place : place + len(new)] = new
    with contextlib.suppress(ValueError):
        held = read_pickle(bytes(content))
        byte_array(held["data"] if isinstance(held, dict) and "data" in held else held, 12)


def in_batch_2(held: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "data_batch_2").write_bytes(held if isinstance(held, bytes) else pickle.dumps(held))


GOOD = {"data": np.zeros((200, 3072), np.uint8), "labels": [0] * 200}
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a program": (in_batch_2(Calls(os.mkdir, "unpickled")), "it asks for 'posix.mkdir', and only lists, texts and arrays are read"),
    "wrong shape": (in_batch_2({**GOOD, "data": np.zeros((200, 32, 32, 3), np.uint8)}), "an array of shape (200, 32, 32, 3)"),
    "wrong type": (in_batch_2({**GOOD, "data": np.zeros((200, 3072), np.int8)}), "it holds an array of 'i1' where bytes should be"),
    "fewer labels": (in_batch_2({**GOOD, "labels": [0] * 199}), "it holds 200 images and 199 labels"),
    "other classes": (in_batch_2({**GOOD, "labels": [10] * 200}), "its labels are not a list of whole numbers from 0 to 9"),
    "labels in a text": (in_batch_2({**GOOD, "labels": "0" * 200}), "its labels are not a list of whole numbers from 0 to 9"),
    "no labels": (in_batch_2({"data": GOOD["data"]}), "it lacks the entries data and labels"),
    "a list": (in_batch_2([1, 2]), "it lacks the entries data and labels"),
    "cut": (in_batch_2(pickle.dumps(GOOD)[:1000]), "pickle"),
}


@pytest.mark.parametrize(("write", "complaint"), FILES.values(), ids=FILES)
def test_a_file_whose_md5_is_taken_for_the_official_one_is_still_read_as_data(
    write: Callable[[Path], None], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_if_official(tmp_path, monkeypatch, write)
    with pytest.raises(BenchError) as caught:
        load_dataset("cifar10", options=DataOptions(tmp_path, download=False))
    said = str(caught.value)
    assert "data_batch_2 cannot be used: " in said
    assert complaint in said
    assert said.endswith("replace it by the official file")
    assert "\n" not in said
    assert not (tmp_path / "unpickled").exists()
