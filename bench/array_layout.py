"""The plain array layout of a data set: five files in ``<data root>/<name>/``, for data whose official files are not at hand."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from .arrays import checked_images, checked_labels, image_shape, read_array, read_class_names
from .data import DataOptions, Dataset, DatasetPlugin, NotThere, Spec, Split, about
from .errors import BenchError

#: Names of folders that stay inside the data root, and can be typed.
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def array_layout_files(root: Path, name: str) -> tuple[Path, ...]:
    """Return the five paths of the plain array layout of a data set, whether or not they exist."""
    stems = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy", "classes.txt")
    return tuple(root / name / stem for stem in stems)


def read_array_layout(root: Path, spec: Spec) -> Dataset | None:
    """Read ``<root>/<name>/{train,test}_images.npy`` (uint8, n x h x w [x c]), ``_labels.npy`` and ``classes.txt``.

    Returns:
        The data set, marked unofficial, or ``None`` if its training images are not there.

    Raises:
        BenchError: a file is missing, or its contents do not fit ``spec``.
    """
    files = array_layout_files(root, spec.name)
    if not os.path.exists(files[0]):
        return None
    missing = [file.name for file in files[:4] if not os.path.exists(file)]
    if missing:
        raise BenchError(f"data set '{spec.name}' in {files[0].parent} lacks {', '.join(missing)}; put them beside {files[0].name}")
    if os.path.exists(files[4]):
        names = read_class_names(files[4])
        if len(names) != spec.classes:
            raise BenchError(f"{files[4]} names {len(names)} classes, data set '{spec.name}' has {spec.classes}; correct the file")
        spec = replace(spec, class_names=names)

    def open_split(part: Literal["train", "test"]) -> Split:
        images, labels = (root / spec.name / f"{part}_{what}.npy" for what in ("images", "labels"))
        return split_of_arrays((read_array(images), images), (read_array(labels), labels), spec)

    return Dataset(spec, open_split("train"), lambda: open_split("test"), files=files, official=False)


def split_of_arrays(images: tuple[np.ndarray, Path], labels: tuple[np.ndarray, Path], spec: Spec) -> Split:
    """Make a split of n x h x w [x c] images and their labels, each with the file it lies in.

    Raises:
        BenchError: they do not fit ``spec`` or each other; says what was found and what to do.
    """
    pixels = checked_images(images[0], spec.shape, images[1])
    classes = checked_labels(labels[0], len(pixels), spec.classes, labels[1])
    return Split(torch.from_numpy(pixels), torch.from_numpy(classes))


def is_folder_name(name: str) -> bool:
    """Tell whether a name stays inside the data root: no separators, no dots in front."""
    return _FOLDER_NAME.fullmatch(name) is not None


def folders_of_arrays(root: Path) -> list[str]:
    """Return the names of the folders in ``root`` that hold all five files, in alphabetical order."""
    try:
        names = sorted(folder.name for folder in root.iterdir())
    except (OSError, ValueError):
        return []  # there is no such folder
    return [name for name in names if is_folder_name(name) and all(map(os.path.exists, array_layout_files(root, name)))]


def plugin_of_arrays(name: str, root: Path) -> DatasetPlugin:
    """Return a data set of which nothing is known but its arrays: ``classes.txt`` has its classes, the arrays their size.

    Only the header of the training images is read. A left-right flip is taken to keep the class.

    Raises:
        BenchError: the class names or that header cannot be read.
    """
    images, *_, listed = array_layout_files(root, name)
    names = read_class_names(listed)
    if len(names) < 2:
        raise BenchError(f"{listed} names {len(names)} classes, and telling classes apart takes two; write one on each line")
    spec = Spec(name, len(names), image_shape(read_array(images), images), names)

    @about(spec, reference=f"arrays in {images.parent}")
    def arrays(options: DataOptions) -> Dataset:
        """Plain arrays that no plugin describes."""
        found = read_array_layout(options.root, spec)
        if found is None:
            raise NotThere(f"data set '{name}' is no longer in {options.root / name}; put it back")
        return found

    return cast(DatasetPlugin, arrays)
