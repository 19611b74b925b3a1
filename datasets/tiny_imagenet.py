"""Tiny-ImageNet: 200 classes of ImageNet with 500 training images each, 64x64 colour pixels.

The official test labels were never published, so its 10,000 validation images are the test split, as in every paper;
validation images are taken from the training images. Classes are in the order of their WordNet ids, which is that of
torchvision's ``ImageFolder``, and so are images: by class, then by file name. The official layout, with
``val/val_annotations.txt``, and those in which people rearrange it, ``val/<wnid>/`` or ``val/images/<wnid>/``, are the same
data set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from bench import DATASETS, BenchError, DataOptions, Dataset, DatasetFamily, Spec
from bench.download import Download
from bench.errors import reason_of
from bench.files import read_text
from bench.guard import ForbiddenAccess
from bench.image_files import ImageFiles, Resize, folders_in, images_in, what_is_missing

from ._official_folder import OfficialFolder, lines_of

_CLASSES, _TRAIN, _TEST = 200, 100_000, 10_000

#: The authors publish no checksum, and torchvision does not know the set. This is the one that public loaders agree on.
OFFICIAL = OfficialFolder(
    "tiny_imagenet",
    "tiny-imagenet-200",
    Download(("http://cs231n.stanford.edu/tiny-imagenet-200.zip",), "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),
    "240 MB",
    4 * 2**30,
)


@DATASETS.register("tiny_imagenet")
@dataclass(frozen=True)
class TinyImagenet(DatasetFamily):
    """Tiny-ImageNet: 200 classes of photographs, 64x64 colour.

    Attributes:
        size: height and width of the images; 64 keeps them as they are.
        resize: how they get another size: ``stretch`` or ``crop``, which is the same for square ones.
    """

    name: ClassVar[str] = "tiny_imagenet"
    reference: ClassVar[str] = "Le & Yang 2015, Tiny ImageNet Visual Recognition Challenge (Stanford CS231N)"
    keep: ClassVar[bool] = True

    size: Annotated[int, Field(ge=8, le=512)] = 64
    resize: Resize = "stretch"

    def describe(self, root: Path) -> Spec:
        """Return names and shapes: the classes that are there, or without any files all of them, which are numbered then."""
        folder = root / OFFICIAL.folder
        ids = _ids(folder) if os.path.exists(folder) else []
        names = _words(folder, ids) if ids else tuple(f"class {number}" for number in range(_CLASSES))
        return Spec(self.shown, len(names), (3, self.size, self.size), names)

    def open(self, options: DataOptions) -> Dataset:
        """Open the official folder, else plain arrays, which need their class names in ``classes.txt``."""
        copy = OFFICIAL.array_copy(options.root, self.describe(options.root))
        if copy is not None:
            if not os.path.exists(options.root / OFFICIAL.dataset / "classes.txt"):
                raise BenchError(
                    f"data set '{self.name}' in {options.root / self.name} lacks classes.txt; write one class name on each line"
                )
            return copy
        folder = OFFICIAL.find(options)
        ids, spec = _ids(folder), self.describe(options.root)
        train, test = _training_files(folder, ids), _test_files(folder, ids)
        counts = (("classes", len(ids), _CLASSES), ("training images", len(train), _TRAIN), ("test images", len(test), _TEST))
        opened = OFFICIAL.opened(options, spec, train, test, self.resize, what_is_missing("Tiny-ImageNet", *counts))
        unnamed = sum(wnid in name for wnid, name in zip(ids, spec.class_names, strict=True))
        note = f"{unnamed} classes have no word in words.txt, or share it, and show their ids"
        return replace(opened, notes=(*opened.notes, note)) if unnamed else opened


def _ids(folder: Path) -> list[str]:
    """Return the WordNet ids of the classes in ascending order: those of ``wnids.txt``, else the folders of ``train``."""
    if os.path.exists(folder / "wnids.txt"):
        return sorted({words[0] for words in lines_of(folder / "wnids.txt")})
    try:
        found = folders_in(folder / "train")
    except OSError as error:
        raise BenchError(f"{folder / 'train'} cannot be listed ({reason_of(error)}); put the official folder there") from error
    if not found:
        raise BenchError(f"{folder / 'train'} has no folder of a class; put the official folder there")
    return found


def _words(folder: Path, ids: Sequence[str]) -> tuple[str, ...]:
    """Return the first synonym of every class; all of its synonyms where two classes share the first.

    A class that ``words.txt`` does not name keeps its id.
    """
    synonyms: dict[str, str] = {}
    if os.path.exists(folder / "words.txt"):
        try:
            text = read_text(folder / "words.txt")
        except ForbiddenAccess:
            raise
        except (OSError, UnicodeDecodeError) as error:
            raise BenchError(f"{folder / 'words.txt'} cannot be read ({reason_of(error)}); put the official file there") from error
        known = (line.partition("\t") for line in text.splitlines())
        synonyms = {wnid.strip(): " ".join(words.split()) for wnid, _, words in known if words.strip()}
    return _distinct(ids, synonyms)


def _distinct(ids: Sequence[str], synonyms: Mapping[str, str]) -> tuple[str, ...]:
    first = {wnid: synonyms.get(wnid, wnid).partition(",")[0].strip() for wnid in ids}
    shared = Counter(first.values())
    names = [first[wnid] if shared[first[wnid]] == 1 else synonyms[wnid] for wnid in ids]
    again = Counter(names)
    return tuple(name if again[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, ids, strict=True))


def _training_files(folder: Path, ids: Sequence[str]) -> ImageFiles:
    """List ``train/<wnid>/images/``."""
    return _by_class(folder / "train", ids)


def _test_files(folder: Path, ids: Sequence[str]) -> ImageFiles:
    """List the validation images, in the order of classes and names, whichever layout they lie in."""
    annotations = folder / "val" / "val_annotations.txt"
    for home in (folder / "val", folder / "val" / "images"):
        if all(os.path.isdir(home / wnid) for wnid in ids):
            return _by_class(home, ids)
    if not os.path.exists(annotations):
        return _by_class(folder / "val", ids)  # which tells what is missing
    classes = {wnid: label for label, wnid in enumerate(ids)}
    listed = []
    for words in lines_of(annotations):
        if len(words) < 2 or words[1] not in classes or "/" in words[0]:
            raise BenchError(
                f"{annotations} has the line {' '.join(words)[:60]!r}, and a line is a file name and a class of wnids.txt; replace it"
            )
        listed.append((classes[words[1]], words[0]))
    listed.sort()
    return ImageFiles(tuple(folder / "val" / "images" / name for _, name in listed), tuple(label for label, _ in listed))


def _by_class(folder: Path, ids: Sequence[str]) -> ImageFiles:
    """List a folder for each class, in which images lie, or a folder of them."""
    files: list[Path] = []
    labels: list[int] = []
    for label, wnid in enumerate(ids):
        home = folder / wnid
        try:
            found = images_in(home / "images" if os.path.isdir(home / "images") else home)
        except ForbiddenAccess:
            raise
        except OSError as error:
            raise BenchError(
                f"{home} of class {wnid} cannot be listed ({reason_of(error)}); put it back, or take it out of wnids.txt"
            ) from error
        files += found
        labels += [label] * len(found)
    return ImageFiles(tuple(files), tuple(labels))
