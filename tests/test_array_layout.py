"""The plain array layout: what is read, and what is said of what is not."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import write_layout

from bench import BenchError, Spec, read_array_layout

SPEC = Spec("toy", 3, (3, 4, 5), ("0", "1", "2"))


def test_the_array_layout_is_an_unofficial_copy(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    dataset = read_array_layout(tmp_path, SPEC)
    assert dataset is not None
    assert not dataset.official
    assert dataset.spec.class_names == ("cat", "sea lion", "dog")
    stored = np.load(folder / "train_images.npy")
    assert dataset.train.images[2, :, 3, 4].tolist() == stored[2, 3, 4].tolist()  # (n, h, w, c) became (n, c, h, w)
    assert set(dataset.files) == {path for path in folder.iterdir()}


def test_the_test_arrays_are_opened_late(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    dataset = read_array_layout(tmp_path, SPEC)
    assert dataset is not None
    marked = np.full((6, 4, 5, 3), 7, dtype=np.uint8)
    np.save(folder / "test_images.npy", marked)
    assert (dataset.test().images == 7).all()


def test_gray_arrays_may_lack_the_channel(tmp_path: Path) -> None:
    write_layout(tmp_path, shape=(6, 4, 5))
    dataset = read_array_layout(tmp_path, Spec("toy", 3, (1, 4, 5), ("0", "1", "2")))
    assert dataset is not None
    assert dataset.train.images.shape == (6, 1, 4, 5)


def test_no_arrays_at_all_is_no_error(tmp_path: Path) -> None:
    assert read_array_layout(tmp_path, SPEC) is None


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2] * 2)


def images(array: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "train_images.npy", array)


def labels(array: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "train_labels.npy", array)


def content(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Put something else in place of a file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


#: What is damaged, how, and which words tell what was found and what to do.
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is missing": (lambda folder: (folder / "test_labels.npy").unlink(), "lacks test_labels.npy; put them beside"),
    "floats from 0 to 1": (images(IMAGES / 255), "holds float64 (6, 4, 5, 3), but uint8 (n, 4, 5, 3) is needed; they run from 0"),
    "floats say how to store them": (images((IMAGES > 99) / 1.0), "from 0 to 1, so store numpy.rint(255 * images).astype(numpy.uint8)"),
    "floats from 0 to 255": (images(np.float32(255) * (IMAGES > 9)), "from 0 to 255, so store numpy.rint(images).astype(numpy.uint8)"),
    "large integers": (images(IMAGES.astype(np.int64)), "so store numpy.rint(images).astype(numpy.uint8)"),
    "centred images": (images((IMAGES > 9) * 4.0 - 2), "they run from -2 to 2, so scale them to 0..255"),
    "images with NaN": (images(np.full(IMAGES.shape, np.nan)), "so scale them to 0..255"),
    "complex images": (images(IMAGES * 1j), "holds complex128"),
    "channels first": (images(IMAGES.transpose(0, 3, 1, 2)), "store images.transpose(0, 2, 3, 1)"),
    "flat images": (images(IMAGES.reshape(6, -1)), "holds uint8 (6, 60), but uint8 (n, 4, 5, 3) is needed; bring them"),
    "gray images of a colour set": (images(IMAGES[..., 0]), "holds uint8 (6, 4, 5)"),
    "images of another size": (images(IMAGES[:, :3]), "holds uint8 (6, 3, 5, 3)"),
    "no image": (images(IMAGES[:0]), "it holds no image"),
    "objects for images": (images(np.array([None] * 6, object)), "holds Python objects, not numbers; store plain arrays"),
    "labels from 1": (labels(LABELS + 1), "must hold 6 integers from 0 to 2, one for each image; they run from 1 to 3, so subtract 1"),
    "a label too large": (labels(np.array([0, 1, 3] * 2)), "they run from 0 to 3, so correct those outside"),
    "a negative label": (labels(np.array([0, 1, -1] * 2)), "they run from -1 to 1"),
    "labels beyond int64": (labels(np.array([0, 1, 2**64 - 1] * 2, np.uint64)), f"they run from 0 to {2**64 - 1}"),
    "one-hot labels": (labels(np.eye(3)[LABELS]), "they are one-hot (6, 3), so store labels.argmax(1)"),
    "soft labels": (labels(np.full((6, 3), 1 / 3)), "they are rows of scores (6, 3), so store labels.argmax(1)"),
    "a column of labels": (labels(LABELS[:, None]), "they have the shape (6, 1), so store labels.ravel()"),
    "a cube of labels": (labels(np.zeros((6, 2, 2), int)), "they have the shape (6, 2, 2)"),
    "one number for all": (labels(np.array(1)), "they have the shape ()"),
    "whole floats": (labels(LABELS.astype(float)), "they are float64, so store labels.astype(numpy.int64)"),
    "truth values": (labels(LABELS > 0), "they are bool, so store labels.astype(numpy.int64)"),
    "broken floats": (labels(LABELS + 0.5), "they are float64 and no whole numbers"),
    "labels that are NaN": (labels(LABELS * np.nan), "they are float64 and no whole numbers"),
    "names for labels": (labels(np.array(["cat", "dog", "cow"] * 2)), "they are texts, so store the position of each class in classes.txt"),
    "dates for labels": (labels(LABELS.astype("M8[D]")), "they are datetime64[D] and no whole numbers"),
    "objects for labels": (labels(np.array([0, 1, 2] * 2, object)), "holds Python objects"),
    "too few labels": (labels(np.array([0, 1])), "there are 2, so store one label for each image"),
    "a torn header": (content("train_images.npy", b"\x93NUMPY"), "cannot be read as one numpy array"),
    "a torn file": (cut("train_images.npy"), "cannot be read as one numpy array"),
    "an empty file": (content("train_images.npy", b""), "it holds nothing"),
    "gzip data": (content("train_labels.npy", gzip.compress(b"0")), "it holds gzip data"),
    "a pickle": (content("train_labels.npy", pickle.dumps([0])), "it holds a pickle"),
    "a folder": (instead("train_images.npy", Path.mkdir), "is not a regular file"),
    "a pipe": (instead("train_labels.npy", os.mkfifo), "is not a regular file"),
    "a device": (instead("train_labels.npy", lambda file: file.symlink_to("/dev/zero")), "is not a regular file"),
    "too few class names": (content("classes.txt", b"cat\n"), "names 1 classes, data set 'toy' has 3"),
    "a class name twice": (content("classes.txt", b"cat\ndog\ncat\n"), "names 'cat' 2 times"),
    "class names in another encoding": (content("classes.txt", "käse\nb\nc\n".encode("latin-1")), "cannot be read as UTF-8 text"),
    "binary class names": (content("classes.txt", b"a\x00\nb\nc\n"), "holds what is no text"),
    "class names in a pipe": (instead("classes.txt", os.mkfifo), "it is not a regular file"),
    "class names in a folder": (instead("classes.txt", Path.mkdir), "cannot be read"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_layout_is_one_sentence(tmp_path: Path, damage: Callable[[Path], object], complaint: str) -> None:
    damage(write_layout(tmp_path))
    with pytest.raises(BenchError) as caught:
        read_array_layout(tmp_path, SPEC)
    assert complaint in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gray_images_may_not_have_the_size_of_another_shape(tmp_path: Path) -> None:
    folder = write_layout(tmp_path, shape=(6, 4, 5))
    np.save(folder / "train_images.npy", IMAGES[..., :1].transpose(0, 3, 1, 2))
    with pytest.raises(BenchError, match=r"store images.transpose\(0, 2, 3, 1\)"):
        read_array_layout(tmp_path, Spec("toy", 3, (1, 4, 5), ("0", "1", "2")))


def test_arrays_are_read_whatever_their_order_in_memory_and_byte_order(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    stored = np.load(folder / "train_images.npy")
    np.save(folder / "train_images.npy", np.asfortranarray(stored))
    np.save(folder / "train_labels.npy", LABELS.astype(">i2"))
    dataset = read_array_layout(tmp_path, SPEC)
    assert dataset is not None
    assert np.array_equal(dataset.train.images.numpy(), stored.transpose(0, 3, 1, 2))
    assert dataset.train.labels.tolist() == LABELS.tolist()


def test_class_names_may_come_from_any_editor(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    (folder / "classes.txt").write_bytes("\ufeffcat\r\n\r\n käse \r\nдом\r\n".encode())
    dataset = read_array_layout(tmp_path, SPEC)
    assert dataset is not None
    assert dataset.spec.class_names == ("cat", "käse", "дом")


def test_damaged_test_arrays_are_a_sentence_once_they_are_opened(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    np.save(folder / "test_labels.npy", LABELS + 1)
    dataset = read_array_layout(tmp_path, SPEC)
    assert dataset is not None
    with pytest.raises(BenchError, match=r"test_labels.npy must hold .*subtract 1"):
        dataset.test()
