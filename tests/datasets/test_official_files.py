"""Data sets that torchvision knows: official files, the array layout beside them, downloads that fail, the sealed test."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from bench import DATASETS, BenchError, DataOptions, Dataset, load_dataset
from bench.guard import guarded

NUMBERS = np.random.default_rng(0)


def write_idx(file: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    file.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path, kind: str = "MNIST") -> Path:
    folder = root / kind / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("t10k", 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte", NUMBERS.integers(0, 256, (count, 28, 28)))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    return folder


def write_cifar(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write small files in the official format and have their MD5 taken for the official one."""
    official = getattr(torchvision.datasets, kind)
    folder = root / official.base_folder
    folder.mkdir(parents=True)

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    classes = 10 if kind == "CIFAR10" else 100
    key = "labels" if classes == 10 else "fine_labels"
    for entries in ("train_list", "test_list"):
        sums = []
        for name, _ in getattr(official, entries):
            pixels = NUMBERS.integers(0, 256, (200, 3072), dtype=np.uint8)
            sums.append([name, write(name, {"data": pixels, key: [i % classes for i in range(200)]})])
        monkeypatch.setattr(official, entries, sums)
    names = {official.meta["key"]: [str(i) for i in range(classes)]}
    monkeypatch.setattr(official, "meta", {**official.meta, "md5": write(official.meta["filename"], names)})
    return folder


def write_official(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if name.startswith("cifar"):
        return write_cifar(root, name.upper(), monkeypatch)
    return write_mnist(root, {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name])


NAMES = ["mnist", "fashion_mnist", "cifar10", "cifar100"]
TEST_FILES = {
    "mnist": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    "fashion_mnist": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    "cifar10": ("test_batch",),
    "cifar100": ("test",),
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def offline(root: Path, name: str) -> Dataset:
    dataset: Dataset = DATASETS[name](DataOptions(root, download=False))
    return dataset


def test_official_files_are_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_official(name, tmp_path, monkeypatch)
    dataset = offline(tmp_path, name)
    test = dataset.test()
    assert dataset.official
    assert dataset.train.images.shape[1:] == test.images.shape[1:] == dataset.spec.shape
    assert (len(dataset.train), len(test)) == {"c": (1000 if name == "cifar10" else 200, 200)}.get(name[0], (40, 20))
    assert test.labels.tolist() == [i % dataset.spec.classes for i in range(len(test))]
    assert {path for path in folder.iterdir()} - {folder / "batches.meta", folder / "meta"} <= set(dataset.files)


def test_pixels_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_official("cifar10", tmp_path, monkeypatch)
    first = pickle.loads((folder / "data_batch_1").read_bytes())["data"]
    image = offline(tmp_path, "cifar10").train.images[3]
    assert image.flatten().tolist() == first[3].tolist()  # the official order is channel, row, column
    raw = write_official("mnist", tmp_path, monkeypatch)
    pixels = np.frombuffer((raw / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8).reshape(-1, 28, 28)
    assert np.array_equal(offline(tmp_path, "mnist").train.images[5, 0].numpy(), pixels[5])


def test_reading_train_opens_no_test_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_official(name, tmp_path, monkeypatch)
    closed = [folder / file for file in TEST_FILES[name]]
    with guarded(closed) as violations:
        dataset = offline(tmp_path, name)
        with pytest.raises(PermissionError):
            dataset.test()
    assert len(violations) == 1
    assert set(closed) <= set(dataset.files)


def test_official_files_go_before_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_official("mnist", tmp_path, monkeypatch)
    write_arrays(tmp_path / "mnist")
    dataset = offline(tmp_path, "mnist")
    assert dataset.official
    assert tmp_path / "mnist" / "test_images.npy" in dataset.files


def write_arrays(folder: Path) -> None:
    folder.mkdir()
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", NUMBERS.integers(0, 256, (30, 28, 28), dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(30) % 10)


def test_arrays_stand_in_for_official_files(tmp_path: Path) -> None:
    write_arrays(tmp_path / "mnist")
    dataset = offline(tmp_path, "mnist")
    assert not dataset.official
    assert dataset.spec.class_names == tuple("0123456789")
    assert (len(dataset.train), len(dataset.test())) == (30, 30)
    assert tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte" in dataset.files


def test_without_files_one_sentence_says_which_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="downloads are off") as caught:
        offline(tmp_path, name)
    message = str(caught.value)
    assert "\n" not in message
    for expected in (*TEST_FILES[name], "train_images.npy", "test_labels.npy", str(tmp_path / name), "--data-root"):
        assert expected in message
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails_is_the_same_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    for other in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(other, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(BenchError, match="cannot be downloaded: put its official files") as caught:
        load_dataset(name, options=DataOptions(tmp_path, download=True))
    assert "\n" not in str(caught.value)


def test_an_unwritable_root_is_a_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot be downloaded"):
        load_dataset("mnist", options=DataOptions(tmp_path / "file", download=True))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "mnist": ("mnist", lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03")),
    "cifar10": ("cifar10", lambda folder: (folder / "data_batch_2").write_bytes(b"not the official file")),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_official_files_are_a_sentence(
    name: str, damage: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(write_official(name, tmp_path, monkeypatch))
    with pytest.raises(BenchError, match=f"the files of data set '{name}' in .* are damaged") as caught:
        offline(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_real_mnist(real_data: DataOptions) -> None:
    dataset = load_dataset("mnist", options=real_data)
    test = dataset.test()
    assert dataset.official
    assert dataset.val is not None
    assert (len(dataset.train) + len(dataset.val), len(test)) == (60_000, 10_000)
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert float(dataset.train.images.float().mean()) / 255 == pytest.approx(0.1307, abs=0.001)


def test_real_cifar10(real_data: DataOptions) -> None:
    if not (real_data.root / "cifar10").is_dir() and not (real_data.root / "cifar-10-batches-py").is_dir():
        pytest.skip("DDBENCH_TEST_DATA names no folder with real data: it has no cifar10")
    dataset = load_dataset("cifar10", "paper", real_data)
    test = dataset.test()
    assert (len(dataset.train), len(test)) == (50_000, 10_000)
    assert dataset.train.labels.bincount().tolist() == [5000] * 10
    assert [dataset.spec.class_names[label] for label in test.labels[:4].tolist()] == ["cat", "ship", "ship", "airplane"]
    means = dataset.train.images.float().mean((0, 2, 3)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.001)
