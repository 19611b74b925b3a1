"""Data sets that torchvision knows: official files, the array layout beside them, downloads that fail, the sealed test."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from data_files import write_idx, write_mnist
from file_server import file_server

from bench import DATASETS, BenchError, DataOptions, Dataset, load_dataset
from bench.guard import guarded
from bench.loading import check_test

NUMBERS = np.random.default_rng(0)


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


@pytest.fixture(autouse=True)
def _all_is_there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the few images of these files for all there are."""
    if "real_data" not in request.fixturenames:
        monkeypatch.setattr("bench.datasets._torchvision.what_is_missing", lambda *_: ())


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


def test_official_files_that_are_there_in_part_are_told_from_none(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_official(name, tmp_path, monkeypatch) / TEST_FILES[name][0]).unlink()
    with pytest.raises(BenchError, match=f"data set '{name}' lacks {TEST_FILES[name][0]} in .* and downloads are off: put its official"):
        offline(tmp_path, name)


def test_a_download_that_fails_is_the_same_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    for other in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(other, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(BenchError, match=r"cannot be downloaded \(.*refused.*\): put its official files") as caught:
        load_dataset(name, options=DataOptions(tmp_path, download=True))
    assert "\n" not in str(caught.value)


def test_an_unwritable_root_is_a_sentence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot be downloaded"):
        load_dataset("mnist", options=DataOptions(tmp_path / "file", download=True))


IDX = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def variants(name: str) -> dict[str, Callable[[Path], object]]:
    """Ways in which people keep an idx file."""

    def packed(file: Path, name: str) -> None:
        file.with_name(name).write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()

    dotted = name.replace("-idx", ".idx")
    return {
        "dotted": lambda file: file.rename(file.with_name(dotted)),
        "packed": lambda file: packed(file, f"{name}.gz"),
        "dotted and packed": lambda file: packed(file, f"{dotted}.gz"),
        "plain beside packed": lambda file: file.with_name(f"{name}.gz").write_bytes(gzip.compress(file.read_bytes())),
    }


@pytest.mark.parametrize("how", variants(""))
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read_under_all_their_names(name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_official(name, tmp_path, monkeypatch)
    known = offline(tmp_path, name)
    for file in list(folder.iterdir()):
        variants(file.name)[how](file)
    dataset = offline(tmp_path, name)
    assert dataset.official
    assert dataset.fingerprint() == known.fingerprint()
    assert torch.equal(dataset.test().images, known.test().images)
    assert torch.equal(dataset.test().labels, known.test().labels)
    # Whatever the name, distilling methods may not open the file.
    assert set(folder.iterdir()) <= set(dataset.files)
    with guarded(dataset.files) as violations, pytest.raises(PermissionError):
        dataset.test()
    assert violations


def test_the_tensors_are_those_of_torchvision(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    dataset = offline(tmp_path, "mnist")
    for ours, train in ((dataset.train, True), (dataset.test(), False)):
        theirs = torchvision.datasets.MNIST(tmp_path, train=train)
        assert torch.equal(ours.images, theirs.data.unsqueeze(1))
        assert torch.equal(ours.labels, theirs.targets)


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (os.mkdir, ("unpickled",))


def test_old_processed_files_neither_replace_the_official_ones_nor_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_mnist(tmp_path)
    known = offline(tmp_path, "mnist").fingerprint()
    old = [tmp_path / "MNIST" / "processed" / name for name in ("training.pt", "test.pt")]
    old[0].parent.mkdir()
    for file in old:
        torch.save((torch.zeros(9, 28, 28, dtype=torch.uint8), torch.zeros(9, dtype=torch.int64), Bomb()), file)
    with guarded(old) as violations:
        dataset = load_dataset("mnist", "paper", DataOptions(tmp_path))
        assert (dataset.fingerprint(), len(dataset.test())) == (known, 20)
    assert not violations
    assert set(old) <= set(dataset.files)
    # Nor do they pass for a data set that has yet to be downloaded.
    shutil.rmtree(tmp_path / "MNIST" / "raw")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with guarded(old) as violations, pytest.raises(BenchError, match="cannot be downloaded"):
        load_dataset("mnist", options=DataOptions(tmp_path))
    assert not violations
    assert not (tmp_path / "unpickled").exists()


def test_what_is_downloaded_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_mnist(tmp_path / "served")
    for file in list(source.iterdir()):
        (source / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))

    with file_server() as served:
        served.files = {file.name: file.read_bytes() for file in source.glob("*.gz")}
        sums = [(name, hashlib.md5(served.files[name]).hexdigest()) for name, _ in torchvision.datasets.MNIST.resources]
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/", f"{served.address}/"])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", sums)
        dataset = load_dataset("mnist", "paper", DataOptions(tmp_path / "data", download=True))
        assert [path for path, _ in served.asked] == [name for name, _ in sums]
    assert dataset.official
    assert dataset.fingerprint() == offline(tmp_path / "served", "mnist").fingerprint()


def content(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def numbers(name: str, array: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: write_idx(folder / name, array)


def cut(name: str, by: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-by])


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Put something else in place of a file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def packed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Leave only a changed gzip file of it."""

    def damage(folder: Path) -> None:
        (folder / f"{name}.gz").write_bytes(change(gzip.compress((folder / name).read_bytes())))
        (folder / name).unlink()

    return damage


#: What is damaged, how, and which words tell what was found and what to do.
DAMAGED_IDX: dict[str, tuple[Callable[[Path], object], str]] = {
    "gzip data without its ending": (content(IDX, gzip.compress(b"0")), "but it holds gzip data; unpack it, or let its name end in .gz"),
    "gzip data in labels": (content(LABELS, gzip.compress(b"0")), "must be an idx file of labels, but it holds gzip data"),
    "plain data called gzip": (packed(IDX, gzip.decompress), "is damaged or no gzip file, it holds an idx file of three dimensions"),
    "torn gzip data": (packed(IDX, lambda data: data[:-40]), "is damaged or no gzip file"),
    "flipped gzip data": (packed(IDX, lambda data: data[:99] + bytes([data[99] ^ 255]) + data[100:]), "is damaged or no gzip file"),
    "a web page": (content(IDX, b"<html>404"), "holds a web page"),
    "a pointer of Git LFS": (content(IDX, b"version https://git-lfs.github.com/spec/v1"), "holds a Git LFS pointer"),
    "nothing": (content(IDX, b""), "holds nothing"),
    "another magic number": (content(IDX, bytes([0, 0, 9, 3]) + bytes(12)), "holds bytes that begin with 00 00 09 03; replace it"),
    "labels for images": (
        numbers(IDX, np.arange(40) % 10),
        "must be an idx file of gray images, but it holds an idx file of one dimension",
    ),
    "a header alone": (content(IDX, bytes([0, 0, 8, 3])), "ends after 4 bytes, within its header; replace it"),
    "a byte too few": (cut(IDX, 1), "says that it has 31360 numbers of (40, 28, 28), and holds 31359; replace it"),
    "a byte too many": (lambda folder: (folder / IDX).write_bytes((folder / IDX).read_bytes() + b"0"), "and holds 31361"),
    "a label beyond the classes": (
        numbers(LABELS, np.arange(40) % 11),
        "must hold 40 integers from 0 to 9, one for each image; they run from 0 to 10",
    ),
    "labels from 1": (numbers(LABELS, np.arange(40) % 10 + 1), "they run from 1 to 10, so subtract 1"),
    "a class without images": (numbers(LABELS, np.arange(40) % 9), "data set 'mnist' has no training image of class 9 ('9')"),
    "a single class": (numbers(LABELS, np.zeros(40)), "has no training image of class 1 ('1') and 8 more"),
    "fewer labels": (numbers(LABELS, np.arange(39) % 10), "there are 39, so store one label for each image"),
    "no images": (numbers(IDX, np.zeros((0, 28, 28))), "it holds no image"),
    "images of another size": (numbers(IDX, np.zeros((40, 32, 32))), "holds uint8 (40, 32, 32), but uint8 (n, 28, 28, 1) is needed"),
    "a folder": (instead(IDX, Path.mkdir), "cannot be read"),
    "a pipe": (instead(IDX, os.mkfifo), "cannot be read (it is not a regular file); put the official file there"),
    "a device": (instead(IDX, lambda file: file.symlink_to("/dev/zero")), "cannot be read (it is not a regular file)"),
}


@pytest.mark.parametrize("name", [IDX, f"{IDX}.gz"])
def test_no_more_is_read_than_such_a_file_can_hold(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes can unpack to a terabyte, and a sparse file can be as long."""
    folder = write_mnist(tmp_path)
    (folder / IDX).unlink()
    (folder / name).write_bytes(gzip.compress(bytes(2**21)) if name.endswith(".gz") else bytes(2**21))
    monkeypatch.setattr("bench.datasets._idx._MOST", 2**20)
    with pytest.raises(BenchError, match="holds more than 1 MiB, which no file of MNIST and its relatives does; replace it"):
        load_dataset("mnist", options=DataOptions(tmp_path, download=False))


@pytest.mark.parametrize(("damage", "complaint"), DAMAGED_IDX.values(), ids=DAMAGED_IDX)
def test_damaged_idx_files_are_a_sentence(damage: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    damage(write_mnist(tmp_path))
    with pytest.raises(BenchError) as caught:
        load_dataset("mnist", options=DataOptions(tmp_path, download=False))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("damage", "complaint"), [
    (numbers("t10k-labels-idx1-ubyte", np.arange(20) % 11), "t10k-labels-idx1-ubyte must hold 20 integers from 0 to 9"),
    (numbers("t10k-images-idx3-ubyte", np.zeros((0, 28, 28))), "it holds no image"),
    (cut("t10k-images-idx3-ubyte", 5), "numbers of (20, 28, 28)"),
    (instead("t10k-images-idx3-ubyte", os.mkfifo), "it is not a regular file"),
])  # fmt: skip
def test_damaged_test_files_are_a_sentence_once_they_are_opened(damage: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    damage(write_mnist(tmp_path))
    dataset = load_dataset("mnist", options=DataOptions(tmp_path, download=False))
    with pytest.raises(BenchError) as caught:
        check_test(dataset)
    assert complaint in str(caught.value)


DAMAGED_PICKLES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another file": (
        content("data_batch_2", b"not the official file"),
        "data_batch_2 is not the official file (another MD5), it holds bytes that",
    ),
    "gzip data": (content("data_batch_5", gzip.compress(b"0")), "data_batch_5 is not the official file (another MD5), it holds gzip data"),
    "another pickle": (content("data_batch_1", pickle.dumps(Bomb())), "it holds a pickle; replace it"),
    "damaged names": (content("batches.meta", b"0"), "batches.meta is not the official file"),
    "a folder": (instead("data_batch_3", Path.mkdir), "data_batch_3 cannot be read"),
    "a pipe": (instead("data_batch_3", os.mkfifo), "data_batch_3 cannot be read (it is not a regular file)"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGED_PICKLES.values(), ids=DAMAGED_PICKLES)
def test_damaged_pickles_are_a_sentence(
    damage: Callable[[Path], object], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    damage(write_official("cifar10", tmp_path, monkeypatch))
    with pytest.raises(BenchError) as caught:
        offline(tmp_path, "cifar10")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "unpickled").exists()


def test_damaged_test_pickles_are_a_sentence_once_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_official("cifar10", tmp_path, monkeypatch) / "test_batch").write_bytes(b"0")
    dataset = offline(tmp_path, "cifar10")
    with pytest.raises(BenchError, match="test_batch is not the official file"):
        check_test(dataset)


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


def test_cifar_is_downloaded_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, packed = write_cifar(tmp_path / "made", "CIFAR10", monkeypatch), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, folder.name)
    with file_server() as served:
        served.files["cifar.tar.gz"] = packed.getvalue()
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", served.url("cifar.tar.gz"))
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
        dataset = load_dataset("cifar10", "paper", DataOptions(tmp_path / "data"))
    assert dataset.fingerprint() == load_dataset("cifar10", "paper", DataOptions(tmp_path / "made", download=False)).fingerprint()
    kept = {file.name for file in (tmp_path / "data").iterdir() if file.suffix != ".lock"}
    assert kept == {folder.name, "cifar-10-python.tar.gz"}
