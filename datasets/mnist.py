"""MNIST and its relatives: 60,000 training and 10,000 test images of 28x28 gray pixels in 10 classes."""

from __future__ import annotations

from pathlib import Path

from bench import DATASETS, DataOptions, Dataset, Spec, Split, about
from bench.array_layout import split_of_arrays
from bench.download import Download, fetch

from ._idx import names_of, read_idx
from ._torchvision import Official, open_dataset

_SHAPE = (1, 28, 28)
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_SYLLABLES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_SIZES = (60_000, 10_000)
_RAW = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

MNIST = Spec("mnist", classes=10, shape=_SHAPE, class_names=tuple("0123456789"), mirror=False, exceptions=("DC",))
KMNIST = Spec("kmnist", classes=10, shape=_SHAPE, class_names=_SYLLABLES, mirror=False)
FASHION_MNIST = Spec("fashion_mnist", classes=10, shape=_SHAPE, class_names=_CLOTHES)


@DATASETS.register("mnist")
@about(MNIST, reference="LeCun et al. 1998, Gradient-Based Learning Applied to Document Recognition")
def mnist(options: DataOptions) -> Dataset:
    """MNIST: handwritten digits, 28x28 gray."""
    return open_dataset(MNIST, _official("MNIST", MNIST), options)


@DATASETS.register("fashion_mnist")
@about(FASHION_MNIST, reference="Xiao et al. 2017, arXiv 1708.07747")
def fashion_mnist(options: DataOptions) -> Dataset:
    """Fashion-MNIST: articles of clothing, 28x28 gray."""
    return open_dataset(FASHION_MNIST, _official("FashionMNIST", FASHION_MNIST), options)


@DATASETS.register("kmnist")
@about(KMNIST, reference="Clanuwat et al. 2018, arXiv 1812.01718")
def kmnist(options: DataOptions) -> Dataset:
    """Kuzushiji-MNIST: ten cursive Japanese characters, 28x28 gray."""
    return open_dataset(KMNIST, _official("KMNIST", KMNIST), options)


def _official(kind: str, spec: Spec) -> Official:
    """Describe the idx files of one of torchvision's relatives of MNIST, named by its class."""
    folder = f"{kind}/raw"

    def open_split(root: Path, train: bool) -> Split:
        part = "train" if train else "t10k"
        images = read_idx(root / folder, f"{part}-images-idx3-ubyte", 3)
        return split_of_arrays(images, read_idx(root / folder, f"{part}-labels-idx1-ubyte", 1), spec)

    def fetch_all(options: DataOptions) -> None:
        import torchvision.datasets  # here and not above: it takes longer to import than digits takes to open

        known = getattr(torchvision.datasets, kind)
        for name, md5 in known.resources:
            fetch(Download(tuple(mirror + name for mirror in known.mirrors), f"{folder}/{name}", md5), options.root, options.tell)

    old = tuple(f"{kind}/processed/{name}" for name in ("training.pt", "test.pt"))  # written by very old torchvisions
    return Official(folder, tuple(map(names_of, _RAW)), old, open_split, fetch_all, _SIZES)
