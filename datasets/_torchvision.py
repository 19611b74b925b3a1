"""How data sets that torchvision knows are found: official files, else the plain array layout, else a download."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import DataOptions, Dataset, Spec, Split, read_array_layout
from bench.array_layout import array_layout_files
from bench.data import NotThere
from bench.errors import reason_of
from bench.image_files import what_is_missing


@dataclass(frozen=True)
class Official:
    """The official files of one data set.

    Attributes:
        folder: where they lie, relative to the data root.
        needed: the files that must be there, each with all its names, the official one first.
        elsewhere: further files and folders, relative to the data root, in which the same images may lie.
        open: reads the training (true) or the test images from a data root, without opening the other's files.
        fetch: downloads all files, where the options say and allow it.
        sizes: number of training and of test images.
    """

    folder: str
    needed: tuple[tuple[str, ...], ...]
    elsewhere: tuple[str, ...]
    open: Callable[[Path, bool], Split]
    fetch: Callable[[DataOptions], None]
    sizes: tuple[int, int]

    def files(self, root: Path) -> tuple[Path, ...]:
        """Return every path at which the images may lie, whether or not it exists."""
        lying = (root / self.folder / name for names in self.needed for name in names)
        return (*lying, *(root / name for name in self.elsewhere))

    def missing(self, root: Path) -> list[str]:
        """Return the needed files that are not there."""
        return [names[0] for names in self.needed if not any(os.path.exists(root / self.folder / name) for name in names)]


def open_dataset(spec: Spec, official: Official, options: DataOptions) -> Dataset:
    """Open a data set from its official files, else from the array layout, else download it if that is allowed.

    Raises:
        BenchError: it is nowhere, or its files are damaged; says which files to put where.
    """
    root = options.root
    if official.missing(root):
        copy = read_array_layout(root, spec)
        if copy is not None:
            return replace(copy, files=(*copy.files, *official.files(root)), notes=_lacking(copy.train, official))
        _fetch(spec, official, options)

    files = (*official.files(root), *array_layout_files(root, spec.name))
    train = official.open(root, True)
    notes = _lacking(train, official)
    return Dataset(spec, train, lambda: official.open(root, False), files=files, official=not notes, notes=notes)


def _lacking(train: Split, official: Official) -> tuple[str, ...]:
    """Say how many training images are missing; those of the test split stay closed here."""
    return what_is_missing("the data set", ("training images", len(train), official.sizes[0]))


def _fetch(spec: Spec, official: Official, options: DataOptions) -> None:
    if not options.download:
        raise NotThere(_not_there(spec, official, options.root, "and downloads are off"))
    try:
        official.fetch(options)
    except OSError as error:
        raise NotThere(_not_there(spec, official, options.root, f"and cannot be downloaded ({reason_of(error)})")) from error


def _not_there(spec: Spec, official: Official, root: Path, why: str) -> str:
    needed = ", ".join(names[0] for names in official.needed)
    arrays = ", ".join(path.name for path in array_layout_files(root, spec.name)[:4])
    missing = official.missing(root)
    found = "is not in" if len(missing) == len(official.needed) else f"lacks {', '.join(missing)} in"
    return (
        f"data set '{spec.name}' {found} {root} {why}: put its official files ({needed}) into "
        f"{root / official.folder}, or its arrays ({arrays}) into {root / spec.name}, or point --data-root at them"
    )
