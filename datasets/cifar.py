"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 colour pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bench import DATASETS, DataOptions, Dataset, Spec, Split, about

from ._torchvision import Official, open_dataset

_SHAPE = (3, 32, 32)
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

        # Without the other part's list torchvision does not open the other part's files to check their MD5.
        other = "test_list" if train else "train_list"
        part = type(kind, (getattr(torchvision.datasets, kind),), {other: []})(root, train=train, download=False)
        pixels = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
        return Split(torch.from_numpy(pixels), torch.tensor(part.targets, dtype=torch.int64))

    def fetch(root: Path) -> None:
        import torchvision.datasets

        getattr(torchvision.datasets, kind)(root, download=True)

    return Official(folder, needed, (archive,), open_split, fetch)
