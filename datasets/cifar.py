"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 colour pixels."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import DATASETS, BenchError, DataOptions, Dataset, Spec, Split, about
from bench.archives import unpack
from bench.download import Download, fetch
from bench.errors import reason_of
from bench.file_kinds import kind_of
from bench.files import read_bytes
from bench.guard import ForbiddenAccess

from ._pickled import byte_array, read_pickle
from ._torchvision import Official, open_dataset

_SHAPE = (3, 32, 32)
_SIZES = (50_000, 10_000)
_MOST_BYTES = 2**30  # the archives unpack to a fifth of it
_TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_HUNDRED = (
    *("apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle"),
    *("bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle"),
    *("chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur"),
    *("dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard"),
    *("lamp", "lawn mower", "leopard", "lion", "lizard", "lobster", "man", "maple tree", "motorcycle", "mountain"),
    *("mouse", "mushroom", "oak tree", "orange", "orchid", "otter", "palm tree", "pear", "pickup truck", "pine tree"),
    *("plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket"),
    *("rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider"),
    *("squirrel", "streetcar", "sunflower", "sweet pepper", "table", "tank", "telephone", "television", "tiger", "tractor"),
    *("train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree", "wolf", "woman", "worm"),
)
_REFERENCE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"

CIFAR10 = Spec("cifar10", classes=10, shape=_SHAPE, class_names=_TEN)
CIFAR100 = Spec("cifar100", classes=100, shape=_SHAPE, class_names=_HUNDRED)


@DATASETS.register("cifar10")
@about(CIFAR10, reference=_REFERENCE)
def cifar10(options: DataOptions) -> Dataset:
    """CIFAR-10: ten kinds of animals and vehicles, 32x32 colour."""
    batches = tuple(f"data_batch_{number}" for number in range(1, 6))
    needed = (*batches, "test_batch", "batches.meta")
    official = _official("CIFAR10", "cifar-10-batches-py", needed, "cifar-10-python.tar.gz", "labels")
    return open_dataset(CIFAR10, official, options)


@DATASETS.register("cifar100")
@about(CIFAR100, reference=_REFERENCE)
def cifar100(options: DataOptions) -> Dataset:
    """CIFAR-100 with its 100 fine classes, 32x32 colour."""
    official = _official("CIFAR100", "cifar-100-python", ("train", "test", "meta"), "cifar-100-python.tar.gz", "fine_labels")
    return open_dataset(CIFAR100, official, options)


def _official(kind: str, folder: str, needed: tuple[str, ...], archive: str, labels: str) -> Official:
    """Describe the files of one of torchvision's CIFAR classes, named by ``kind``, whose classes lie under the key ``labels``.

    They are pickles. They are read only if their MD5 is the official one, and even then as data alone.
    """

    def open_split(root: Path, train: bool) -> Split:
        import torchvision.datasets  # here and not above: it takes longer to import than digits takes to open

        official = getattr(torchvision.datasets, kind)
        _checked(root / folder / official.meta["filename"], official.meta["md5"])
        listed = official.train_list if train else official.test_list
        classes = CIFAR10.classes if kind == "CIFAR10" else CIFAR100.classes
        parts = [_part(root / folder / name, md5, labels, classes) for name, md5 in listed]
        pixels = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, *_SHAPE)
        ids = [label for _, ids in parts for label in ids]
        return Split(torch.from_numpy(pixels), torch.tensor(ids, dtype=torch.int64))

    def fetch_all(options: DataOptions) -> None:
        import torchvision.datasets

        known = getattr(torchvision.datasets, kind)
        unpack(fetch(Download((known.url,), archive, known.tgz_md5), options.root, options.tell), options.root / folder, _MOST_BYTES)

    elsewhere = (archive, f"{folder}.damaged")  # what a download set aside
    return Official(folder, tuple((name,) for name in needed), elsewhere, open_split, fetch_all, _SIZES)


def _checked(file: Path, official: str) -> bytes:
    """Return the content of an official file.

    Raises:
        BenchError: it cannot be read, or its MD5 is another.
    """
    try:
        content = read_bytes(file)
    except ForbiddenAccess:
        raise
    except OSError as error:
        raise BenchError(f"{file} cannot be read ({reason_of(error)}); put the official file there") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != official:
        raise BenchError(f"{file} is not the official file (another MD5), it holds {kind_of(content)}; replace it")
    return content


def _part(file: Path, md5: str, labels: str, classes: int) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[int]]:
    """Return the (n, 3072) pixels and the n classes of one file.

    Raises:
        BenchError: it is not the official file, or does not hold what that holds.
    """
    content = _checked(file, md5)
    try:
        held = read_pickle(content)
        if not isinstance(held, dict) or not {"data", labels} <= set(held):
            raise ValueError(f"it lacks the entries data and {labels}")
        pixels, ids = byte_array(held["data"], math.prod(_SHAPE)), held[labels]
        if not isinstance(ids, list) or not all(type(label) is int and 0 <= label < classes for label in ids):
            raise ValueError(f"its {labels} are not a list of whole numbers from 0 to {classes - 1}")
        if len(ids) != len(pixels):
            raise ValueError(f"it holds {len(pixels)} images and {len(ids)} {labels}")
    except ValueError as error:
        raise BenchError(f"{file} cannot be used: {error}; replace it by the official file") from error
    return pixels, ids
