"""Data sets as the suite sees them: digits' blocks, fingerprints, splits, and where the data lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import dataset_of

from bench import Dataset, Spec, Split
from bench.data import default_data_root
from bench.loading import carve_val


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


def test_the_data_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DDBENCH_DATA", str(tmp_path))
    assert default_data_root() == tmp_path
    monkeypatch.delenv("DDBENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_data_root() == tmp_path / "cache" / "ddbench" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_data_root() == Path.home() / ".cache" / "ddbench" / "data"
