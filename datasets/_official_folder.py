"""Data sets that come as an archive with one folder of image files: where the folder is, and how it gets there."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from bench import BenchError, DataOptions, Dataset, Spec, read_array_layout
from bench.archives import unpack
from bench.array_layout import array_layout_files
from bench.data import NotThere
from bench.download import Download, fetch
from bench.errors import reason_of
from bench.files import read_text
from bench.image_files import ImageFiles, Resize, split_of_files, train_and_val_of_files


@dataclass(frozen=True)
class OfficialFolder:
    """The official files of a data set.

    Attributes:
        dataset: registered name of the data set.
        folder: the folder in the archive, and in the data root.
        archive: where it can be had.
        size: of the archive, as people say it.
        most_bytes: what the archive unpacks to at the most.
    """

    dataset: str
    folder: str
    archive: Download
    size: str
    most_bytes: int

    def lies_in(self, root: Path) -> bool:
        """Tell whether the folder is there, or the archive to unpack it from."""
        return os.path.exists(root / self.folder) or os.path.exists(root / self.archive.file)

    def files(self, root: Path) -> tuple[Path, ...]:
        """Return every place at which the images may lie."""
        return (root / self.folder, root / self.archive.file, *array_layout_files(root, self.dataset))

    def find(self, options: DataOptions) -> Path:
        """Return the folder, unpacked from its archive, or downloaded, if that is allowed.

        Raises:
            NotThere: it is nowhere, or packed where nothing may be written; says what to do.
            BenchError: the archive is damaged, or there is no room.
        """
        root, folder = options.root, options.root / self.folder
        if not self.lies_in(root):
            self._fetch(options)
        if not os.path.exists(folder):
            if not options.keep:
                raise NotThere(
                    f"data set '{self.dataset}' is packed in {root / self.archive.file}, and a dry run writes nothing; "
                    f"give the command prepare {self.dataset} first"
                )
            options.tell(f"unpacking {self.archive.file}")
            unpack(root / self.archive.file, folder, self.most_bytes)
        return folder

    def opened(
        self, options: DataOptions, spec: Spec, train: ImageFiles, test: ImageFiles, resize: Resize, missing: tuple[str, ...]
    ) -> Dataset:
        """Decode the listed training images, and the test images once they are asked for.

        Args:
            options: where the folder is.
            spec: names and shapes.
            train: all training images, of which some become val.
            test: test images.
            resize: how images of other shapes become square.
            missing: notes on what the folder lacks, without which it is official.
        """
        options.tell(f"decoding {len(train) + len(test):,} images of {spec.name}")
        kept, val = train_and_val_of_files(train, None, spec, resize)
        return Dataset(
            spec,
            train=kept,
            val=val,
            test=lambda: split_of_files(test, spec, resize),
            files=self.files(options.root),
            official=not missing,
            notes=missing,
        )

    def array_copy(self, root: Path, spec: Spec) -> Dataset | None:
        """Return the data set from plain arrays, or ``None`` if the official files are there, or no arrays."""
        if self.lies_in(root):
            return None
        copy = read_array_layout(root, replace(spec, name=self.dataset))
        if copy is None:
            return None
        return replace(copy, spec=replace(copy.spec, name=spec.name), files=self.files(root))

    def _fetch(self, options: DataOptions) -> None:
        if not (options.download and options.large):
            raise NotThere(self._not_there(options.root, ""))
        try:
            fetch(self.archive, options.root, options.tell)
        except OSError as error:
            raise NotThere(
                self._not_there(options.root, f" and cannot be downloaded from {self.archive.urls[0]} ({reason_of(error)})")
            ) from error

    def _not_there(self, root: Path, why: str) -> str:
        arrays = ", ".join(file.name for file in array_layout_files(root, self.dataset))
        command = f"prepare {self.dataset} --data-root {shlex.quote(str(root))}"
        again = "give the command again" if why else f"give the command {command}, which downloads {self.size} once"
        return (
            f"data set '{self.dataset}' is not in {root}{why}: {again}, or put its official folder {self.folder} or archive "
            f"{self.archive.file} there, or its arrays ({arrays}) into {root / self.dataset}, or point --data-root at them"
        )


def lines_of(file: Path) -> list[list[str]]:
    """Return the words of every line of a list that comes with the images; empty lines are left out.

    Raises:
        BenchError: it is not there, or no text.
    """
    try:
        return [line.split() for line in read_text(file).splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BenchError(f"{file} is no text ({error.reason}); replace it by the official file") from error
    except OSError as error:
        raise BenchError(f"{file} cannot be read ({reason_of(error)}); put the official file there") from error
