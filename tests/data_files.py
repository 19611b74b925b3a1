"""Small data sets for tests, in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import Dataset, Spec, Split


def dataset_of(labels: list[int], classes: int, name: str = "toy") -> Dataset:
    ids = torch.arange(len(labels))
    images = torch.stack([ids % 256, ids // 256], 1).to(torch.uint8).view(-1, 1, 1, 2)  # every image tells its position
    spec = Spec(name, classes, (1, 1, 2), tuple(map(str, range(classes))))
    return Dataset(spec, Split(images, torch.tensor(labels, dtype=torch.int64)), test=pytest.fail)


def positions(split: Split) -> list[int]:
    pixels = split.images.flatten(1).int()
    return (pixels[:, 0] + 256 * pixels[:, 1]).tolist()


def write_layout(root: Path, shape: tuple[int, ...] = (6, 4, 5, 3)) -> Path:
    folder = root / "toy"
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", numbers.integers(0, 256, shape, dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(shape[0]) % 3)
    (folder / "classes.txt").write_text("cat\nsea lion\ndog\n")
    return folder


def write_idx(file: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    file.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path, kind: str = "MNIST") -> Path:
    """Write 40 training and 20 test images as the official files of MNIST or Fashion-MNIST."""
    folder = root / kind / "raw"
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        write_idx(folder / f"{part}-images-idx3-ubyte", numbers.integers(0, 256, (count, 28, 28)))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    return folder
