"""Files of a data set in which bytes were changed: loading ends with the suite's own error, or with data that fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_files import write_layout, write_mnist
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import BenchError, DataOptions, load_dataset

ARRAYS = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy", "classes.txt")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
#: Beginnings of other kinds of files.
HEADS = (b"", b"\x1f\x8b\x08", b"PK\x03\x04", b"\x80\x04", b"\x93NUMPY", b"\x00\x00\x08\x03", b"\x00\x00\x08\x01", b"<html>", b"\xff" * 16)


@st.composite
def changes(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, str, int, bytes]:
    """Draw which file is changed, how, where (from either end), and the new bytes."""
    how = draw(st.sampled_from(["flip", "flip in the header", "cut", "replace the head", "append", "replace all"]))
    place = draw(st.integers(0, 140) if "header" in how else st.integers(0, 40_000))
    new = draw(st.sampled_from(HEADS) if "head" in how.split() else st.binary(min_size=1, max_size=24))
    return draw(st.sampled_from(names)), how, place, new


def changed(content: bytes, how: str, place: int, new: bytes) -> bytes:
    place %= max(1, len(content))
    return {
        "flip": content[:place] + new + content[place + len(new) :],
        "flip in the header": content[:place] + new[:2] + content[place + len(new[:2]) :],
        "cut": content[:place],
        "replace the head": new + content[len(new) :],
        "append": content + new,
        "replace all": new,
    }[how]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two small data sets."""
    folder = tmp_path_factory.mktemp("data")
    write_layout(folder, shape=(30, 4, 5, 3))
    write_mnist(folder)
    yield folder
    shutil.rmtree(folder)


def load_all(root: Path, name: str) -> None:
    """Open a data set as planning does, and check that what is accepted fits."""
    dataset = load_dataset(name, options=DataOptions(root, download=False))
    assert dataset.val is not None
    assert min(dataset.class_counts()) >= 1
    for split in (dataset.train, dataset.val, dataset.test()):
        assert len(split)
        assert split.images.shape[1:] == dataset.spec.shape
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < dataset.spec.classes == len(dataset.spec.class_names)


def accepts_or_complains(root: Path, name: str, file: Path, change: tuple[str, int, bytes]) -> None:
    before = file.read_bytes()
    file.write_bytes(changed(before, *change))
    complaint = ""
    try:
        load_all(root, name)
    except BenchError as error:
        complaint = str(error)
    finally:
        file.write_bytes(before)
    assert not complaint or str(file.parent) in complaint or f"'{name}'" in complaint
    assert "\n" not in complaint


def test_unchanged_files_are_accepted(root: Path) -> None:
    for name in ("toy", "mnist"):
        load_all(root, name)


@settings(max_examples=200)
@given(change=changes(ARRAYS))
def test_changed_arrays_fit_or_are_refused(root: Path, change: tuple[str, str, int, bytes]) -> None:
    accepts_or_complains(root, "toy", root / "toy" / change[0], change[1:])


@settings(max_examples=100)
@given(change=changes(IDX))
def test_changed_idx_files_fit_or_are_refused(root: Path, change: tuple[str, str, int, bytes]) -> None:
    accepts_or_complains(root, "mnist", root / "MNIST" / "raw" / change[0], change[1:])
