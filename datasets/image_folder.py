"""Images of your own: a folder for each class, or such folders for training, validation and test.

::

    birds/train/robin/1.jpg            birds/robin/1.jpg
    birds/test/robin/2.jpg             birds/robin/2.jpg
    birds/val/robin/3.jpg (optional)

A folder that is split already stays so. Without ``test/`` the images of ``val/`` are the test split, as in ImageNet. Of
class folders without any split, a fifth of every class is kept for test, the same images for everybody. Classes and
images are in the order of their names, which are those of the folders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field

from bench import DATASETS, BenchError, DataOptions, Dataset, DatasetFamily, Spec
from bench.data import NotThere
from bench.errors import reason_of
from bench.guard import ForbiddenAccess
from bench.image_files import ENDINGS, ImageFiles, Resize, folders_in, images_in, split_of_files, train_and_val_of_files
from bench.paths import read_path
from bench.seeding import stream

_TRAIN, _TEST, _VAL = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")


@DATASETS.register("image_folder")
@dataclass(frozen=True)
class ImageFolder(DatasetFamily):
    """Images of your own in class folders: image_folder[path=FOLDER,size=32].

    Attributes:
        path: the folder; a relative path starts at the current folder, or if nothing is there, at the data root.
        size: height and width to which images are brought.
        resize: ``stretch`` squeezes the whole image into a square, ``crop`` takes the middle of it.
        channels: 3, where gray images get three equal ones, or 1, where colours become gray.
        mirror: whether a left-right flip keeps the class; false for digits and letters.
    """

    name: ClassVar[str] = "image_folder"
    reference: ClassVar[str] = "images in a folder of the user"
    keep: ClassVar[bool] = True

    path: str
    size: Annotated[int, Field(ge=4, le=512)] = 32
    resize: Resize = "stretch"
    channels: Literal[1, 3] = 3
    mirror: bool = True

    def settled(self, root: Path) -> Self:
        """Return the same with the whole path of its folder."""
        typed = read_path(self.path, f"path of data set '{self.name}'")
        here = os.path.abspath(typed)
        if not typed.is_absolute() and not os.path.exists(here) and (root / typed).exists():
            here = os.path.abspath(root / typed)
        if os.path.realpath(here) == os.path.realpath(root):
            raise BenchError(
                f"path of data set '{self.name}' is the data root {root}, where other things lie, too; put the images into a folder in it"
            )
        return replace(self, path=here)

    def describe(self, root: Path) -> Spec:
        """Return names and shapes; the classes are the folders."""
        folders = self._class_folders()
        if len(folders) < 2:
            raise BenchError(
                f"{self.path} has {len(folders)} class folder{'s' * (len(folders) != 1)} of training images, and telling classes apart "
                "takes two; put the images of every class into a folder of its own, or into train/CLASS and test/CLASS"
            )
        words = tuple(name.replace("_", " ").strip() for name in folders)
        names = words if len(set(words)) == len(words) and all(words) else tuple(folders)
        return Spec(self.shown, len(names), (self.channels, self.size, self.size), names, self.mirror)

    def _class_folders(self) -> list[str]:
        folder = Path(self.path)
        parts = _parts(folder)
        return _folders_in(parts[0] if parts else folder)

    def open(self, options: DataOptions) -> Dataset:
        """Open the folder as it is split, or split it."""
        folder, spec, classes = Path(self.path), self.describe(options.root), self._class_folders()
        parts, notes = _parts(folder), []
        if parts:
            train_folder, val_folder, test_folder = parts
            train, test = _listed(train_folder, classes), _listed(test_folder, classes)
            val = _listed(val_folder, classes) if val_folder else None
            if test_folder.name in _VAL:
                notes.append(f"there is no test folder, so {test_folder.name}/ is the test split")
        else:
            train, test = _split(_listed(folder, classes), folder.name, spec.class_names)
            val = None
            notes.append("a fifth of every class was kept for test by ddbench")
        options.tell(f"decoding {len(train) + len(val or ()) + len(test):,} images of {self.label}")
        kept, validating = train_and_val_of_files(train, val, spec, self.resize)
        return Dataset(
            spec,
            train=kept,
            val=validating,
            test=lambda: split_of_files(test, spec, self.resize),
            files=(folder,),
            notes=tuple(notes),
        )


def _parts(folder: Path) -> tuple[Path, Path | None, Path] | None:
    """Return the folders of train, val and test of a folder that is split, or ``None`` if it is not."""
    train, val, test = (_first_of(folder, names) for names in (_TRAIN, _VAL, _TEST))
    if train is None:
        return None
    if test is not None:
        return train, val, test
    if val is not None:
        return train, None, val
    raise BenchError(
        f"{folder} has the folder {train.name} and no folder test or val beside it; add one, or take the classes out of {train.name}"
    )


def _first_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if os.path.isdir(folder / name)), None)


def _folders_in(folder: Path) -> list[str]:
    return _or_sentence(lambda: folders_in(folder), folder)


def _listed(folder: Path, classes: Sequence[str]) -> ImageFiles:
    """List the class folders of a part, all of which must be there.

    Raises:
        BenchError: one is missing or there is one more, or one holds no image.
    """
    if others := sorted(set(_folders_in(folder)) - set(classes)):
        raise BenchError(f"{folder} has the class folder {others[0]}, which the training images lack; add it there, or take it away")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        home = folder / name
        found = _or_sentence(lambda home=home: images_in(home), home)  # type: ignore[misc]
        if not found:
            raise BenchError(f"{home} holds no image ({', '.join(ENDINGS)}); put some there, or take the class out everywhere")
        files += found
        labels += [label] * len(found)
    return ImageFiles(tuple(files), tuple(labels))


def _or_sentence(look: Callable[[], list], folder: Path) -> list:  # type: ignore[type-arg]
    try:
        return look()
    except ForbiddenAccess:
        raise
    except FileNotFoundError as error:
        raise NotThere(f"data set 'image_folder' has no folder {folder}; put the images there, or give another path") from error
    except OSError as error:
        raise BenchError(f"{folder} cannot be listed ({reason_of(error)}); name a folder of images") from error


def _split(listed: ImageFiles, folder: str, class_names: Sequence[str]) -> tuple[ImageFiles, ImageFiles]:
    """Keep a fifth of every class for test: at least one image, at most half; the choice depends on the folder's name alone."""
    labels = torch.tensor(listed.labels)
    for_test: set[int] = set()
    for label, name in enumerate(class_names):
        members = torch.nonzero(labels == label).flatten()
        if len(members) < 2:
            raise BenchError(f"class {name} has a single image, which cannot be in train and in test; add some")
        order = torch.randperm(len(members), generator=stream("test split", folder, label))
        for_test |= set(members[order[: max(1, len(members) // 5)]].tolist())
    index = range(len(listed))
    return listed.take(i for i in index if i not in for_test), listed.take(sorted(for_test))
