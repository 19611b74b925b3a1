"""Data sets as the suite sees them: 8-bit images, integer classes, and a test split that stays sealed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor

from .errors import BenchError
from .paths import read_path

SplitName = Literal["dev", "paper"]


@dataclass(frozen=True)
class Spec:
    """What is known of a data set without opening it.

    Attributes:
        name: registered name.
        classes: number of classes.
        shape: channels, height and width of one image.
        class_names: one name per class, in the order of the integer labels.
        mirror: whether a left-right flip keeps the class (false for digits and letters).
        exceptions: papers that train on this data set in another way than on all others, see ``PublishedRecipe``.

    Example:
        >>> from bench import Spec
        >>> spec = Spec("shirts", 2, (3, 32, 48), class_names=("plain", "striped"))
        >>> spec.channels, spec.height, spec.width
        (3, 32, 48)
    """

    name: str
    classes: int
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mirror: bool = True
    exceptions: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Number of colour channels."""
        return self.shape[0]

    @property
    def height(self) -> int:
        """Rows of one image."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Columns of one image."""
        return self.shape[2]


@dataclass(frozen=True)
class Batch:
    """Labelled images on their way to a student.

    Attributes:
        images: (n, c, h, w) float.
        labels: (n, k) float, one row of finite targets per image; a row need not sum to one.

    Example:
        >>> import torch
        >>> from bench import Batch
        >>> batch = Batch(torch.zeros(4, 1, 8, 8), torch.full((4, 10), 0.1))
        >>> batch.labels.shape
        torch.Size([4, 10])
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Split:
    """Real images and their classes.

    Attributes:
        images: (n, c, h, w) uint8.
        labels: (n,) int64, ids in 0..classes-1.

    Example:
        >>> import torch
        >>> from bench import Split
        >>> split = Split(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([1, 0, 1]))
        >>> split.of_class(1)
        tensor([0, 2])
        >>> split.unit_images().max()
        tensor(1.)
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Check the shapes and types once, at the door."""
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (n, c, h, w), found {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 (n,), found {self.labels.dtype} {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def take(self, index: Tensor) -> Split:
        """Return the images at ``index``, in that order."""
        return Split(self.images[index], self.labels[index])

    def unit_images(self, index: Tensor | None = None) -> Tensor:
        """Return images as float32 in [0, 1], shape (n, c, h, w)."""
        images = self.images if index is None else self.images[index]
        return images.float().div_(255.0)

    def joined(self, other: Split) -> Split:
        """Return the images of both, one after the other; not copied where they lie so in memory, as in a memory map."""
        return Split(_joined(self.images, other.images), torch.cat([self.labels, other.labels]))

    def of_class(self, label: int) -> Tensor:
        """Return the indices of the images of one class, in order."""
        return torch.nonzero(self.labels == label).flatten()


def _joined(one: Tensor, other: Tensor) -> Tensor:
    shared = one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() and one.shape[1:] == other.shape[1:]
    adjacent = shared and other.storage_offset() == one.storage_offset() + one.numel()
    if adjacent and one.is_contiguous() and other.is_contiguous():
        return one.as_strided((len(one) + len(other), *one.shape[1:]), one.stride())
    return torch.cat([one, other])


@dataclass(frozen=True)
class Dataset:
    """One data set with its splits.

    A data set plugin returns one of these with all training images in ``train``; it sets ``val`` only where the data
    set has a fixed validation block of its own. ``test`` opens the files again when it is called, so the test images
    are not in memory of a process that distils, and the guard of that process refuses to open ``files``.

    Attributes:
        spec: names and shapes.
        train: what contestants may look at.
        test: opens the test split; only the judge calls it, and planning, which looks whether it can be used.
        val: judges on the way; never training data.
        files: the files the images come from, which contestants may not open.
            A folder closes all that lies in it.
        official: false for a copy in the plain array layout, whose bytes nobody vouches for, and for a part of a data set.
        notes: sentences for the reader of a record, such as what a copy lacks.
        hashed: what ``fingerprint`` is to return, if that is known from when the images were decoded.

    Example:
        >>> import torch
        >>> from bench import Dataset, Spec, Split
        >>> grey = Split(torch.full((6, 1, 8, 8), 128, dtype=torch.uint8), torch.tensor([0, 1, 0, 1, 0, 1]))
        >>> dataset = Dataset(Spec("grey", 2, (1, 8, 8), ("one", "other")), train=grey.take(torch.arange(4)), test=lambda: grey)
        >>> len(dataset.train), len(dataset.test()), len(dataset.fingerprint())
        (4, 6, 16)
    """

    spec: Spec
    train: Split
    test: Callable[[], Split]
    val: Split | None = None
    files: tuple[Path, ...] = ()
    official: bool = True
    notes: tuple[str, ...] = ()
    hashed: str = ""

    def class_counts(self) -> tuple[int, ...]:
        """Return the number of training images of every class."""
        return tuple(self.train.labels.bincount(minlength=self.spec.classes).tolist())

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify what contestants and validation see (labels included).

        They are computed once where images are kept decoded: reading a gigabyte in every stage takes longer than a stage.
        """
        return self.hashed or self.hash_content()

    def hash_content(self) -> str:
        """Compute the fingerprint from the images as they are in memory now."""
        hasher = hashlib.sha256(f"{self.spec.name} {self.spec.classes} {self.spec.shape}".encode())
        for split in (self.train, self.val):
            if split is not None:
                for tensor in (split.images, split.labels):  # read where they lie; tobytes() would copy them first
                    hasher.update(tensor.contiguous().flatten().numpy().data)
            hasher.update(b"|")
        return hasher.hexdigest()[:16]


@dataclass(frozen=True)
class DataOptions:
    """Where data sets live and whether one may be downloaded.

    Attributes:
        root: the data root (``--data-root``, ``DDBENCH_DATA``, or a per-user cache folder).
        download: whether a missing data set may be fetched; it is only ever fetched when asked for by name.
        large: whether one may be fetched that takes a gigabyte: the command ``prepare`` asks for it, and no run.
        keep: whether the data root may be written: a dry run unpacks no archive, and decodes images for itself alone.
        tell: hears of what takes long, a sentence at a time.

    Example:
        >>> from pathlib import Path
        >>> from bench import DataOptions, load_dataset, registry
        >>> registry.discover()
        >>> len(load_dataset("digits", "dev", DataOptions(Path("nowhere"), download=False)).train)
        800
    """

    root: Path
    download: bool = True
    large: bool = False
    keep: bool = True
    tell: Callable[[str], None] = field(default=lambda sentence: None, compare=False)


class NotThere(BenchError):
    """A data set none of whose files are there."""


class DatasetPlugin(Protocol):
    """What a registered data set is: a function with a docstring and two facts that need no file to be opened.

    Attributes:
        spec: names and shapes.
        reference: where the data come from.
        keep: whether the host is to keep it decoded, since reading its files takes long.
    """

    spec: Spec
    reference: str
    keep: bool

    def __call__(self, options: DataOptions) -> Dataset:
        """Open the data set, all training images in ``train``."""


Loader = TypeVar("Loader", bound=Callable[[DataOptions], Dataset])


def about(spec: Spec, reference: str, keep: bool = False) -> Callable[[Loader], Loader]:
    """Return a decorator that notes on a data set's function what is known without opening a file.

    Args:
        spec: names and shapes.
        reference: where the data come from.
        keep: whether the images are to be kept decoded, since reading the files takes long.
    """

    def note(load: Loader) -> Loader:
        plugin = cast(DatasetPlugin, load)
        plugin.spec, plugin.reference, plugin.keep = spec, reference, keep
        return load

    return note


def default_data_root() -> Path:
    """Return ``$DDBENCH_DATA`` or the per-user cache folder ``~/.cache/ddbench/data`` (``XDG_CACHE_HOME`` is kept)."""
    if configured := os.environ.get("DDBENCH_DATA"):
        return read_path(configured, "$DDBENCH_DATA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ddbench" / "data"
