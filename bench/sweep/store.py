"""Records and distilled sets on disk. Free of torch, so that a report only reads text."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import BenchError, UnwritableError
from ..files import write_text
from ..record import Record
from ..registry import PARAMETERIZATIONS


@dataclass(frozen=True)
class Store:
    """The out folder: one JSON file per record, one folder per distilled set.

    Attributes:
        out: the folder; it need not exist to be read.
    """

    out: Path

    @property
    def records(self) -> Path:
        """Folder of the record files, one per judge key."""
        return self.out / "records"

    @property
    def prerequisites(self) -> Path:
        """Folder of what several cells share: fitted spaces, class orders."""
        return self.out / "prerequisites"

    @property
    def pictures(self) -> Path:
        """Folder of the pictures of distilled sets."""
        return self.out / "pictures"

    def record_file(self, key: str) -> Path:
        """Return the path of a record."""
        return self.records / f"{key}.json"

    def set_folder(self, distil_key: str) -> Path:
        """Return the folder of a distilled set."""
        return self.out / "sets" / distil_key

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            BenchError: the out folder cannot be written.
            UnwritableError: there is no room in it.
        """
        try:
            for folder in (self.records, self.out / "sets", self.out / "logs", self.pictures, self.prerequisites):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.records / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            kind = UnwritableError if error.errno in (errno.ENOSPC, errno.EDQUOT) else BenchError  # a full disk is nobody's wrong input
            raise kind(f"the out folder '{self.out}' cannot be written: {error.strerror}; choose another with --out") from error

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold a key, so that two runners on one folder do not both make what it names; wait for whoever holds it.

        The lock ends with its process, however that ends. Nobody may claim a key twice: the second claim would wait for the first for ever.
        """
        folder = self.out / "claims"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{key}.lock"):
            yield

    def write(self, record: Record) -> None:
        """Write a record so that a reader sees the old one or the new one, never half of it."""
        write_text(self.record_file(record.key), record.to_json())

    def read(self, key: str) -> Record | None:
        """Return one record, or ``None`` if there is none that can be read."""
        try:
            return Record.from_json(self.record_file(key).read_text())
        except (OSError, ValueError, TypeError):
            return None

    def read_all(self, set_aside: bool = True) -> tuple[dict[str, Record], list[str]]:
        """Read every record.

        Args:
            set_aside: rename a corrupt file to ``*.corrupt``, so that its cell runs again.

        Returns:
            The records by key, in order of their keys, and a warning for every file that is corrupt.
        """
        found, warnings = {}, []
        for file in sorted(self.records.glob("*.json")):
            try:
                record = Record.from_json(file.read_text())
                if record.key != file.stem:
                    raise ValueError(f"it is the record of {record.key}")
                found[record.key] = record
            except (ValueError, TypeError, AttributeError, OSError) as error:
                warnings.append(f"record {file} cannot be read ({error}); " + _move_aside(file, set_aside))
        return found, warnings

    def set_info(self, distil_key: str) -> dict[str, Any] | None:
        """Return what was measured while a set was made, or ``None`` if the set is not complete.

        ``distil.json`` is written last, so a set without it was interrupted. A set that another version of its decoder
        wrote cannot be read any more, and has to be made again.
        """
        folder = self.set_folder(distil_key)
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            info = json.loads((folder / "distil.json").read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(info, dict) or not isinstance(manifest, dict):
            return None
        name = manifest.get("parameterization")
        if isinstance(name, str) and name in PARAMETERIZATIONS and PARAMETERIZATIONS[name].version != manifest.get("version"):
            return None
        return info

    def find(self, prefix: str) -> Record:
        """Return the record whose key begins with ``prefix``.

        Raises:
            BenchError: there is none, or more than one.
        """
        keys = sorted(file.stem for file in self.records.glob("*.json") if file.stem.startswith(prefix))
        if len(keys) != 1 or not prefix:
            found = "no record" if not keys else f"{len(keys)} records ({', '.join(key[:12] for key in keys[:4])}, ...)"
            raise BenchError(f"key '{prefix}' fits {found} in {self.records}; give the first digits of one key, as --dry-run shows them")
        record = self.read(keys[0])
        if record is None:
            raise BenchError(f"record {self.record_file(keys[0])} is corrupt; run its command again to replace it")
        return record


def _move_aside(file: Path, really: bool) -> str:
    if not really:
        return "it is ignored"
    target = file.with_suffix(".json.corrupt")
    try:
        os.replace(file, target)
    except OSError:
        return "it is ignored"
    return f"it is set aside as {target.name} and its cell runs again"
