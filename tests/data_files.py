"""Small data sets for tests, in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

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


def picture(number: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Image.Image:
    """Draw a smooth picture that no other number has, so that a JPEG keeps it nearly as it is."""
    x, y = np.meshgrid(np.linspace(0, 3, size[0]), np.linspace(0, 3, size[1]))
    waves = [np.sin(x * (1 + number % 5) + channel + number) + np.cos(y * (1 + number % 7) - channel) for channel in range(3)]
    return Image.fromarray(np.clip(128 + 60 * np.stack(waves, 2), 0, 255).astype(np.uint8)).convert(mode)


WNIDS = {"n02": "black stork, Ciconia nigra", "n01": "goldfish, Carassius auratus", "n10": "crane", "n03": "crane, machine"}


def write_tiny_imagenet(root: Path, train: int = 8, val: int = 3) -> Path:
    """Write the official layout with four classes; the first image of every class is gray."""
    folder, lines, number = root / "tiny-imagenet-200", [], 0
    for wnid in WNIDS:
        for index in range(train):
            number += 1
            write_jpeg(folder / "train" / wnid / "images" / f"{wnid}_{index}.JPEG", number, mode="L" if index == 0 else "RGB")
    for index in range(val * len(WNIDS)):
        wnid = sorted(WNIDS)[index * 3 % len(WNIDS)]
        write_jpeg(folder / "val" / "images" / f"val_{index}.JPEG", 1000 + index, mode="L" if index == 2 else "RGB")
        lines.append(f"val_{index}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (folder / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in {**WNIDS, "n99": "not in it"}.items()))
    return folder


def write_jpeg(file: Path, number: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> None:
    """Write a JPEG, whatever the file's name ends in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture(number, size, mode).save(file, format="JPEG", quality=90)


def write_cub200(root: Path, each: int = 8, test: int = 3) -> Path:
    """Write the official layout with three classes; the second image of every class is gray, and no two have one shape."""
    folder, number = root / "CUB_200_2011", 0
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    names = {1: "001.Black_footed_Albatross", 2: "002.Laysan_Albatross", 11: "011.Rusty_Blackbird"}
    for label, name in names.items():
        for index in range(each):
            number += 1
            path = f"{name}/{name[4:]}_{index:04}.jpg"
            write_jpeg(folder / "images" / path, number, (50 + 3 * number, 90 - number), "L" if index == 1 else "RGB")
            lists["images"].append(f"{number} {path}")
            lists["image_class_labels"].append(f"{number} {label}")
            lists["train_test_split"].append(f"{number} {int(index >= test)}")
    for kind, lines in lists.items():
        (folder / f"{kind}.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "classes.txt").write_text("".join(f"{label} {name}\n" for label, name in names.items()))
    return folder


def write_svhn(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write 40 training and 20 test images as the official files, and return pixels and official labels of the training images."""
    numbers, written = np.random.default_rng(0), {}
    root.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 40), ("test", 20)):
        pixels = numbers.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count, dtype=np.uint8) % 10 + 1).reshape(-1, 1)
        savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)
        written[part] = pixels, labels
    return written["train"]
