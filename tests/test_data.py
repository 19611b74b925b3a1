"""Splits: digits' blocks, the carved validation set, the array layout, and the sealed test split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, DataOptions, Dataset, Spec, Split, load_dataset, read_array_layout
from bench.data import carve_val, default_data_root


def dataset_of(labels: list[int], classes: int, name: str = "toy") -> Dataset:
    ids = torch.arange(len(labels))
    images = torch.stack([ids % 256, ids // 256], 1).to(torch.uint8).view(-1, 1, 1, 2)  # every image tells its position
    spec = Spec(name, classes, (1, 1, 2), tuple(map(str, range(classes))))
    return Dataset(spec, Split(images, torch.tensor(labels, dtype=torch.int64)), test=pytest.fail)


def positions(split: Split) -> list[int]:
    pixels = split.images.flatten(1).int()
    return (pixels[:, 0] + 256 * pixels[:, 1]).tolist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_val_is_a_stratified_tenth(labels: list[int]) -> None:
    whole = dataset_of(labels, classes=5)
    carved = carve_val(whole)
    assert carved.val is not None
    assert sorted(positions(carved.train) + positions(carved.val)) == list(range(len(labels)))
    for part in (carved.train, carved.val):
        assert [labels[i] for i in positions(part)] == part.labels.tolist()
        assert positions(part) == sorted(positions(part))
    for label in range(5):
        count, held_out = labels.count(label), len(carved.val.of_class(label))
        assert held_out == min(max(5, count // 10), count // 2)


def test_everybody_carves_the_same_val() -> None:
    labels = [i % 3 for i in range(90)]
    one, other = carve_val(dataset_of(labels, 3)), carve_val(dataset_of(labels, 3))
    assert one.val is not None
    assert other.val is not None
    assert torch.equal(one.val.images, other.val.images)
    elsewhere = carve_val(dataset_of(labels, 3, name="another"))
    assert elsewhere.val is not None
    assert not torch.equal(one.val.images, elsewhere.val.images)


def test_digits_are_blocks_of_the_file(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    test = digits.test()
    assert digits.val is not None
    assert (len(digits.train), len(digits.val), len(test)) == (800, 200, 797)
    joined = torch.cat([digits.train.images, digits.val.images, test.images]).flatten(1).numpy()
    assert np.array_equal(joined, np.rint(pixels * 255 / 16))
    assert torch.cat([digits.train.labels, digits.val.labels, test.labels]).tolist() == classes.tolist()
    assert (digits.train.images.amin(), digits.train.images.amax()) == (0, 255)


def test_split_paper_is_all_of_train(digits: Dataset) -> None:
    paper = load_dataset("digits", "paper")
    assert paper.val is None
    assert digits.val is not None
    assert torch.equal(paper.train.images, torch.cat([digits.train.images, digits.val.images]))
    assert torch.equal(paper.train.labels, torch.cat([digits.train.labels, digits.val.labels]))
    assert torch.equal(paper.test().images, digits.test().images)
    assert paper.fingerprint() != digits.fingerprint()


def test_a_known_fingerprint_stays_whatever_the_layout_in_memory() -> None:
    # Every key on a user's disk depends on it; a change must be noticed.
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    spec = Spec("toy", 2, (3, 4, 5), ("0", "1"))
    for laid_out in (images, images.contiguous(memory_format=torch.channels_last)):
        split = Split(laid_out, torch.tensor([1, 0]))
        assert replace(dataset_of([0, 1], 2), spec=spec, train=split, val=split).fingerprint() == "17c16fc317bfd4dc"


def test_the_fingerprint_sees_every_pixel_and_label() -> None:
    labels = [0, 1] * 20
    known = dataset_of(labels, 2).fingerprint()
    assert known == dataset_of(labels, 2).fingerprint()
    assert known != dataset_of([*labels[:-1], 0], 2).fingerprint()
    assert known != carve_val(dataset_of(labels, 2)).fingerprint()
    touched = dataset_of(labels, 2)
    touched.train.images[3, 0, 0, 1] += 1
    assert known != touched.fingerprint()


def test_unit_images_and_classes() -> None:
    split = Split(torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1), torch.tensor([1, 0, 1]))
    assert split.unit_images().flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert split.unit_images(torch.tensor([2])).flatten().tolist() == [1.0]
    assert split.of_class(1).tolist() == [0, 2]
    assert split.take(torch.tensor([1, 0])).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2)),
    ],
)
def test_a_split_checks_its_shapes(images: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="must be"):
        Split(images, labels)


SPEC = Spec("toy", 3, (3, 4, 5), ("0", "1", "2"))


def write_layout(root: Path, shape: tuple[int, ...] = (6, 4, 5, 3)) -> Path:
    folder = root / "toy"
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", numbers.integers(0, 256, shape, dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.array([0, 1, 2] * 2))
    (folder / "classes.txt").write_text("cat\nsea lion\ndog\n")
    return folder


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


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("a file is missing", lambda f: (f / "test_labels.npy").unlink(), "lacks test_labels.npy"),
    ("floats", lambda f: np.save(f / "train_images.npy", np.zeros((6, 4, 5, 3))), "holds float64"),
    ("another shape", lambda f: np.save(f / "train_images.npy", np.zeros((6, 3, 4, 5), np.uint8)), r"needs uint8 \(n, 4, 5, 3\)"),
    ("a label too large", lambda f: np.save(f / "train_labels.npy", np.array([0, 1, 3] * 2)), "integers from 0 to 2"),
    ("a negative label", lambda f: np.save(f / "train_labels.npy", np.array([0, 1, -1] * 2)), "integers from 0 to 2"),
    ("labels that are no integers", lambda f: np.save(f / "train_labels.npy", np.array([0, 1, 0.5] * 2)), "integers from 0 to 2"),
    ("too few labels", lambda f: np.save(f / "train_labels.npy", np.array([0, 1])), "must be 6 integers"),
    ("labels of two dimensions", lambda f: np.save(f / "train_labels.npy", np.zeros((6, 3), int)), "must be 6 integers"),
    ("a torn file", lambda f: (f / "train_images.npy").write_bytes(b"\x93NUMPY"), "cannot be read"),
    ("pickled objects", lambda f: np.save(f / "train_labels.npy", np.array([{}] * 6), allow_pickle=True), "cannot be read"),
    ("too few class names", lambda f: (f / "classes.txt").write_text("cat\n"), "names 1 classes"),
]


@pytest.mark.parametrize(("damage", "complaint"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_a_damaged_layout_is_one_sentence(tmp_path: Path, damage: Callable[[Path], object], complaint: str) -> None:
    damage(write_layout(tmp_path))
    with pytest.raises(BenchError, match=complaint) as caught:
        read_array_layout(tmp_path, SPEC)
    assert str(tmp_path) in str(caught.value)


def test_the_data_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DDBENCH_DATA", str(tmp_path))
    assert default_data_root() == tmp_path
    monkeypatch.delenv("DDBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_root() == tmp_path / "cache" / "ddbench" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_data_root() == Path.home() / ".cache" / "ddbench" / "data"


def test_an_unknown_data_set_names_the_closest() -> None:
    with pytest.raises(BenchError, match="unknown data set 'digts'; did you mean 'digits'"):
        load_dataset("digts", options=DataOptions(Path(), download=False))
