"""Images kept decoded: 8-bit arrays that are mapped into memory, so that a large data set opens at once in every process.

``<data root>/decoded/<name>/`` has the arrays, and a manifest that says what they were made of and what identifies them.
It counts as the data set itself as long as none of the files it was made of changed; those may be deleted.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, with_config
from typing_extensions import TypedDict

from .arrays import read_array
from .data import Dataset, Spec, Split, SplitName
from .errors import BenchError, reason_of
from .files import checksum, lock, read_text, set_aside, write_text
from .guard import ForbiddenAccess
from .keys import digest, readable_json
from .schema import STRICT, Count, DataSetName, Positive, Schema

FOLDER = "decoded"
MANIFEST = "manifest.json"
_SCHEMA = 1
_PARTS = ("train", "test")
_ARRAYS = tuple(f"{part}_{what}.npy" for part in _PARTS for what in ("images", "labels"))
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_LISTS = (".txt",)  # what lists images, and is small


@with_config(STRICT)
class DecodedFile(TypedDict):
    """By what an array is known again: its time, or if that is another one, its content."""

    bytes: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    modified: int


@with_config(STRICT)
class DecodedManifest(TypedDict):
    """What was decoded from what."""

    schema: Annotated[int, Field(ge=_SCHEMA, le=_SCHEMA)]
    asked: str
    name: DataSetName
    shape: tuple[Positive, Positive, Positive]
    class_names: list[str]
    mirror: bool
    exceptions: tuple[str, ...]
    official: bool
    notes: list[str]
    held_out: Count
    fingerprints: dict[str, str]
    origin: list[str]
    sources: dict[str, str | None]
    files: dict[str, DecodedFile]


_MANIFEST_FILE: Schema[DecodedManifest] = Schema(DecodedManifest)


@dataclass(frozen=True)
class Decoded:
    """A data set that is kept decoded.

    Attributes:
        folder: where it lies.
        manifest: what it is.
        root: the data root.
    """

    folder: Path
    manifest: DecodedManifest
    root: Path

    @property
    def spec(self) -> Spec:
        """Names and shapes."""
        about = self.manifest
        names = tuple(about["class_names"])
        return Spec(about["name"], len(names), about["shape"], names, about["mirror"], about["exceptions"])

    def fingerprint(self, split: SplitName) -> str:
        """Return the fingerprint under a split, or an empty string if the data set cannot be used under it."""
        return self.manifest["fingerprints"].get(split, "")

    def open(self) -> Dataset:
        """Return the data set as its plugin did. Nothing is read but labels: images are mapped into memory."""
        about = self.manifest
        whole = self._split("train")
        cut = len(whole) - about["held_out"]
        val = Split(whole.images[cut:], whole.labels[cut:]) if about["held_out"] else None
        files = tuple(self.root / source for source in about["origin"])
        return Dataset(
            self.spec,
            train=Split(whole.images[:cut], whole.labels[:cut]),
            test=lambda: self._split("test"),
            val=val,
            files=files,
            official=about["official"],
            notes=tuple(about["notes"]),
        )

    def _split(self, part: str) -> Split:
        images = read_array(self.folder / f"{part}_images.npy", mode="c")
        labels = read_array(self.folder / f"{part}_labels.npy")
        return Split(torch.from_numpy(images), torch.from_numpy(np.array(labels)))


@dataclass(frozen=True)
class DecodedStore:
    """What is kept decoded in a data root.

    Attributes:
        root: the data root.
    """

    root: Path

    @property
    def home(self) -> Path:
        """The folder of all that is kept: another size of a data set, or an outdated copy, has the same test images."""
        return self.root / FOLDER

    def folder(self, asked: str) -> Path:
        """Return where a data set is kept, whether or not it is."""
        if _PLAIN.fullmatch(asked):
            return self.home / asked
        readable = re.sub(r"[^A-Za-z0-9_.=-]+", "-", asked).strip("-.")[:60]
        return self.home / f"{readable}-{digest(asked, 8)}"

    def find(self, asked: str) -> Decoded | None:
        """Return a data set that is kept, or ``None`` if it is not, is damaged, or its sources changed since.

        Sources that are gone are no longer needed.
        """
        folder = self.folder(asked)
        if not os.path.lexists(folder):
            return None
        try:
            manifest = _MANIFEST_FILE.read(read_text(folder / MANIFEST))
            fits = manifest["asked"] == asked and set(manifest["files"]) == set(_ARRAYS) and self._unchanged(folder, manifest)
            return Decoded(folder, manifest, self.root) if fits else None
        except ForbiddenAccess:
            raise
        except (OSError, ValueError):
            return None

    def keep(self, asked: str, dataset: Dataset, fingerprints: Mapping[SplitName, str]) -> Decoded:
        """Write a data set, training and test images, and return it as it is found from now on.

        Args:
            asked: its name as it is asked for.
            dataset: what its plugin returned.
            fingerprints: what identifies it under each split.

        Raises:
            BenchError: it cannot be written. Nothing is left of it then.
        """
        folder = self.folder(asked)
        place = folder.with_name(f".building-{folder.name}")
        try:
            with lock(folder.with_name(f".{folder.name}.lock")):
                if found := self.find(asked):
                    return found  # another process was faster
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                try:
                    self._write(place, asked, dataset, fingerprints)
                    if os.path.lexists(folder):
                        _remove(set_aside(folder, ".old"))
                    os.replace(place, folder)
                finally:
                    shutil.rmtree(place, ignore_errors=True)
        except OSError as error:
            raise BenchError(
                f"data set '{asked}' cannot be kept decoded in {folder} ({reason_of(error)}); make room there, or point --data-root "
                "at a folder that can be written"
            ) from error
        found = self.find(asked)
        if found is None:
            raise BenchError(f"the files of data set '{asked}' changed while they were decoded; give the same command again")
        return found

    def _write(self, place: Path, asked: str, dataset: Dataset, fingerprints: Mapping[SplitName, str]) -> None:
        spec, whole = dataset.spec, dataset.train if dataset.val is None else dataset.train.joined(dataset.val)
        # Before the test images are read.
        sources = {self._relative(path): stamp(path) for file in dataset.files for path in _what_tells(file)}
        for part, split in zip(_PARTS, (whole, dataset.test()), strict=True):
            np.save(place / f"{part}_images.npy", split.images.contiguous().numpy())
            np.save(place / f"{part}_labels.npy", split.labels.numpy())
        manifest = {
            "schema": _SCHEMA,
            "asked": asked,
            "name": spec.name,
            "shape": list(spec.shape),
            "class_names": list(spec.class_names),
            "mirror": spec.mirror,
            "exceptions": list(spec.exceptions),
            "official": dataset.official,
            "notes": list(dataset.notes),
            "held_out": len(dataset.val or ()),
            "fingerprints": dict(fingerprints),
            "origin": [self._relative(file) for file in dataset.files],
            "sources": sources,
            "files": {name: _known_by(place / name) for name in _ARRAYS},
        }
        write_text(place / MANIFEST, readable_json(manifest))

    def _relative(self, file: Path) -> str:
        """Return a path from the data root if it lies in it, so that the folder can be moved as a whole."""
        return file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else str(file)

    def _unchanged(self, folder: Path, manifest: DecodedManifest) -> bool:
        for source, before in manifest["sources"].items():
            now = stamp(self.root / source)
            if now is not None and now != before:
                return False
        touched = [name for name, known in manifest["files"].items() if not _same_time(folder / name, known)]
        # A copy of the folder has other times; its content is looked at, once if that can be noted.
        if any(checksum(folder / name)["sha256"] != manifest["files"][name]["sha256"] for name in touched):
            return False
        if touched:
            manifest["files"] |= {name: _known_by(folder / name) for name in touched}
            with suppress(OSError):
                write_text(folder / MANIFEST, readable_json(manifest))
        return True


def stamp(source: Path) -> str | None:
    """Return what changes whenever a file does, or the names in a folder, or ``None`` if nothing is there."""
    try:
        found = os.stat(source)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return f"{found.st_mtime_ns} {found.st_size}"


def _what_tells(source: Path) -> Iterator[Path]:
    """Yield what tells of changes: a file itself; of a folder, its folders and its lists.

    A folder changes with the names in it. Images, of which there may be a hundred thousand, are not looked at one by one.
    """
    yield source
    if not source.is_dir():
        return
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                yield from _what_tells(Path(entry.path))
            elif entry.name.endswith(_LISTS):
                yield Path(entry.path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _known_by(file: Path) -> DecodedFile:
    return {**checksum(file), "modified": file.stat().st_mtime_ns}


def _same_time(file: Path, known: DecodedFile) -> bool:
    found = os.stat(file)
    return (found.st_size, found.st_mtime_ns) == (known["bytes"], known["modified"])
