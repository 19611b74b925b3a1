"""SVHN and KMNIST: official files, the digit 0, damaged files, downloads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from data_files import write_mnist, write_svhn
from file_server import file_server
from scipy.io import savemat

from bench import DATASETS, BenchError, DataOptions, Dataset, load_dataset
from bench.contract.datasets import DATASET_CHECKS, DatasetTrial
from bench.guard import guarded


def load(root: Path) -> Dataset:
    return load_dataset("svhn", "paper", DataOptions(root, download=False))


@pytest.mark.parametrize("place", [".", "SVHN", "svhn"])
def test_pixels_stay_where_they_are_and_class_10_is_the_digit_0(place: str, tmp_path: Path) -> None:
    pixels, labels = write_svhn(tmp_path / place)
    dataset = load(tmp_path)
    assert np.array_equal(dataset.train.images.numpy(), pixels.transpose(3, 2, 0, 1))
    assert dataset.train.labels.tolist() == [int(label) % 10 for label in labels[:, 0]]
    assert labels.max() == 10
    assert dataset.train.labels.max() == 9
    assert (dataset.spec.class_names[0], dataset.spec.mirror) == ("0", False)
    assert dataset.notes == ("a part of the data set: 40 of 73,257 training images",)


def test_the_tensors_are_those_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_svhn(tmp_path)
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    for ours, part in ((load(tmp_path).train, "train"), (load(tmp_path).test(), "test")):
        theirs = torchvision.datasets.SVHN(tmp_path, split=part)
        assert np.array_equal(ours.images.numpy(), theirs.data)
        assert np.array_equal(ours.labels.numpy(), theirs.labels)


def test_reading_train_opens_no_test_file(tmp_path: Path) -> None:
    write_svhn(tmp_path)
    with guarded([tmp_path / "test_32x32.mat"]) as violations:
        dataset = DATASETS["svhn"](DataOptions(tmp_path, download=False))
        with pytest.raises(PermissionError):
            dataset.test()
    assert len(violations) == 1


@pytest.mark.parametrize("check", DATASET_CHECKS, ids=lambda check: check.name)
def test_the_contract_holds(check: object, tmp_path: Path) -> None:
    write_svhn(tmp_path)
    check.run(DatasetTrial("svhn", DataOptions(tmp_path, download=False)))  # type: ignore[attr-defined]


def matlab(**content: object) -> Callable[[Path], object]:
    return lambda root: savemat(root / "train_32x32.mat", content)


IMAGES, LABELS = np.zeros((32, 32, 3, 4), np.uint8), np.ones((4, 1), np.uint8)
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda root: (root / "train_32x32.mat").write_bytes((root / "train_32x32.mat").read_bytes()[:900]),
        "no MATLAB file with X and y",
    ),
    "a web page": (lambda root: (root / "train_32x32.mat").write_text("<html>"), "it holds a web page"),
    "empty": (lambda root: (root / "train_32x32.mat").write_bytes(b""), "it holds nothing"),
    "without labels": (matlab(X=IMAGES), "no MATLAB file with X and y"),
    "another shape": (matlab(X=IMAGES[:, :, 0], y=LABELS), r"holds images uint8 \(32, 32, 4\)"),
    "label 0": (matlab(X=IMAGES, y=0 * LABELS), "n labels from 1 to 10; replace it"),
    "fewer labels": (matlab(X=IMAGES, y=LABELS[:2]), "n labels from 1 to 10"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_a_sentence(damage: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    write_svhn(tmp_path)
    damage(tmp_path)
    with pytest.raises(BenchError, match=complaint) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_files_one_sentence_says_which_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="train_32x32.mat, test_32x32.mat") as caught:
        load(tmp_path)
    assert f"into {tmp_path}, or its arrays" in str(caught.value)


def test_what_is_downloaded_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_svhn(tmp_path / "made")
    with file_server() as served:
        served.files = {file.name: file.read_bytes() for file in (tmp_path / "made").glob("*.mat")}
        lists = {
            part: [served.url(name), name, hashlib.md5(served.files[name]).hexdigest()]
            for part, name in (("train", "train_32x32.mat"), ("test", "test_32x32.mat"))
        }
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
        dataset = load_dataset("svhn", "paper", DataOptions(tmp_path / "data"))
    assert dataset.fingerprint() == load(tmp_path / "made").fingerprint()


def test_kmnist_is_read_from_its_official_files(tmp_path: Path) -> None:
    write_mnist(tmp_path, "KMNIST")
    dataset = load_dataset("kmnist", "paper", DataOptions(tmp_path, download=False))
    theirs = torchvision.datasets.KMNIST(tmp_path)
    assert torch.equal(dataset.train.images, theirs.data.unsqueeze(1))
    assert list(dataset.spec.class_names) == torchvision.datasets.KMNIST.classes
    assert not dataset.spec.mirror
    assert dataset.notes == ("a part of the data set: 40 of 60,000 training images",)
