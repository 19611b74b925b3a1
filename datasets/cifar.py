"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 colour pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bench import DATASETS, BenchError, DataOptions, Dataset, Spec, Split, about
from bench.archives import unpack
from bench.download import Download, fetch
from bench.errors import reason_of
from bench.file_kinds import kind_of
from bench.files import read_bytes
from bench.guard import ForbiddenAccess

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
    official = _official("CIFAR10", "cifar-10-batches-py", (*batches, "test_batch", "batches.meta"), "cifar-10-python.tar.gz")
    return open_dataset(CIFAR10, official, options)


@DATASETS.register("cifar100")
@about(CIFAR100, reference=_REFERENCE)
def cifar100(options: DataOptions) -> Dataset:
    """CIFAR-100 with its 100 fine classes, 32x32 colour."""
    official = _official("CIFAR100", "cifar-100-python", ("train", "test", "meta"), "cifar-100-python.tar.gz")
    return open_dataset(CIFAR100, official, options)


def _official(kind: str, folder: str, needed: tuple[str, ...], archive: str) -> Official:
    """Describe the files of one of torchvision's CIFAR classes, named by ``kind``.

    They are pickles, which torchvision reads only if their MD5 is the official one.
    """

    def open_split(root: Path, train: bool) -> Split:
        import torchvision.datasets  # here and not above: it takes longer to import than digits takes to open

        official = getattr(torchvision.datasets, kind)
        listed = official.train_list if train else official.test_list
        # Without the other part's list torchvision does not open the other part's files to check their MD5.
        other = "test_list" if train else "train_list"
        try:
            part = type(kind, (official,), {other: []})(root, train=train, download=False)
        except ForbiddenAccess:
            raise
        except (OSError, RuntimeError) as error:
            sums = dict([*listed, (official.meta["filename"], official.meta["md5"])])
            raise BenchError(_damage(root / folder, sums) or f"the files in {root / folder} cannot be read: {error}") from error
        pixels = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
        return Split(torch.from_numpy(pixels), torch.tensor(part.targets, dtype=torch.int64))

    def fetch_all(options: DataOptions) -> None:
        import torchvision.datasets

        known = getattr(torchvision.datasets, kind)
        unpack(fetch(Download((known.url,), archive, known.tgz_md5), options.root, options.tell), options.root / folder, _MOST_BYTES)

    return Official(folder, tuple((name,) for name in needed), (archive,), open_split, fetch_all, _SIZES)


def _damage(folder: Path, sums: Mapping[str, str]) -> str:
    """Return a sentence about the first file in ``folder`` whose MD5 is not that of the official one, or an empty string."""
    for name, official in sums.items():
        try:
            content = read_bytes(folder / name)
        except OSError as error:
            return f"{folder / name} cannot be read ({reason_of(error)}); put the official file there"
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != official:
            return f"{folder / name} is not the official file (another MD5), it holds {kind_of(content)}; replace it"
    return ""
