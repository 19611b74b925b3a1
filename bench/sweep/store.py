"""Records and distilled sets on disk. Free of torch, so that a report only reads text."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, RejectedSet, UnwritableError, reason_of
from ..files import checksum, difference, lock, make_way, read_text, write_text
from ..files import set_aside as rename_aside
from ..keys import readable_json
from ..manifest import MANIFEST, TENSORS, read_manifest
from ..record import EarlierSchema, Record
from ..record_parts import MadeSet
from ..registry import PARAMETERIZATIONS
from ..schema import Schema

if TYPE_CHECKING:
    from ..distilled import DistilledSet

#: Written last beside manifest and tensors of a set; tells how it was made, and has their checksums.
_MADE = "distil.json"
#: Where a set is while it is made.
CHECKPOINT = "checkpoint.safetensors"
_MADE_SET: Schema[MadeSet] = Schema(MadeSet)


def damage_of_set(folder: Path) -> str:
    """Say what is wrong with the set in a folder; empty where it is as ``distil.json`` beside it says, or nothing says how it was."""
    try:
        _whole_set(folder)
    except _NotWhole as damage:
        return str(damage)
    return ""


class _NotWhole(Exception):
    """A set is not there as it was made; the text says what is damaged, and is empty where it was never finished."""


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

    @property
    def claims(self) -> Path:
        """Folder of the locks of those who make something."""
        return self.out / "claims"

    @property
    def runs(self) -> Path:
        """Folder of the configurations of all runs."""
        return self.out / "runs"

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
            for folder in (self.records, self.out / "sets", self.out / "logs", self.pictures, self.prerequisites, self.claims, self.runs):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.records / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            kind = UnwritableError if error.errno in (errno.ENOSPC, errno.EDQUOT) else BenchError  # a full disk is nobody's wrong input
            raise kind(f"the out folder '{self.out}' cannot be written: {reason_of(error)}; choose another with --out") from error

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold a key, so that two runners on one folder do not both make what it names; wait for whoever holds it.

        The lock ends with its process, however that ends. Nobody may claim a key twice: the second claim would wait for the first for ever.
        """
        with lock(self.claims / f"{key}.lock"):
            yield

    def keep_config(self, text: str) -> None:
        """Write ``run.yaml``, and keep it as ``runs/<time>.yaml`` beside those of earlier runs unless the newest says the same.

        Args:
            text: see ``bench.sweep.settings.config_text``.
        """
        make_way(self.out / "run.yaml", ".damaged")
        write_text(self.out / "run.yaml", text)
        newest = max(self.runs.glob("*.yaml"), default=None)
        if newest is None or _text_of(newest) != text:
            # To the microsecond and in UTC, so that names sort by time and no two runs share one.
            write_text(self.runs / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}Z.yaml", text)

    def write(self, record: Record) -> None:
        """Write a record so that a reader sees the old one or the new one, never half of it."""
        write_text(self.record_file(record.key), record.to_json())

    def read(self, key: str) -> Record | None:
        """Return one record, or ``None`` if there is none that can be read."""
        try:
            return _read(self.record_file(key))
        except (OSError, ValueError):
            return None

    def read_all(self, set_aside: bool = True) -> tuple[dict[str, Record], list[str]]:
        """Read every record.

        Args:
            set_aside: rename a corrupt file to ``*.corrupt``, so that its cell runs again.

        Returns:
            The records by key, in order of their keys, and a warning for every file that is corrupt; those that an earlier
            version of the suite made share one.
        """
        found, warnings, earlier = {}, [], []
        for file in sorted(self.records.glob("*.json")):
            try:
                found[file.stem] = _read(file)
            except EarlierSchema:
                earlier.append(file)
            except (ValueError, OSError) as error:
                warnings.append(f"record {file} cannot be read ({reason_of(error)}); {_move_aside([file], set_aside)}")
        if earlier:
            which = (
                f"record {earlier[0]} was"
                if len(earlier) == 1
                else f"{len(earlier)} records in {self.records}, the first {earlier[0].name}, were"
            )
            warnings.append(f"{which} made by an earlier version of the suite; {_move_aside(earlier, set_aside)}")
        return found, warnings

    def set_info(self, distil_key: str) -> dict[str, Any] | None:
        """Return what was measured while a set was made, or ``None`` if there is no such set that is whole and can be read.

        ``distil.json`` is written last, so a set without it was interrupted. Its checksums tell whether the set is still
        the one that was made. A set that another version of its decoder wrote cannot be read any more, and has to be made
        again.
        """
        try:
            return _whole_set(self.set_folder(distil_key))
        except _NotWhole:
            return None

    def set_damage(self, distil_key: str) -> str:
        """Say what is wrong with a set that was finished once; empty for a whole one and for one that is not there yet."""
        return damage_of_set(self.set_folder(distil_key))

    def make_room(self, distil_key: str) -> Path:
        """Return the folder of a set that is to be made, without anything in it that no file could replace.

        Until ``finish_set`` the folder does not count as a set.
        """
        folder = self.set_folder(distil_key)
        if os.path.lexists(folder) and not folder.is_dir():
            rename_aside(folder, ".damaged")
        for name in (MANIFEST, TENSORS, _MADE, CHECKPOINT):
            make_way(folder / name, ".damaged")
        return folder

    def unfinish_set(self, distil_key: str) -> None:
        """Let a set not count as one, until it is written again."""
        (self.set_folder(distil_key) / _MADE).unlink(missing_ok=True)

    def finish_set(self, distil_key: str, info: Mapping[str, Any]) -> None:
        """Write ``distil.json``: how the set was made, and the checksums of its other files, which are all there."""
        folder = self.set_folder(distil_key)
        files = {name: checksum(folder / name) for name in (MANIFEST, TENSORS)}
        write_text(folder / _MADE, readable_json({**info, "files": files}))

    def keep(self, distil_key: str, distilled: DistilledSet, info: Mapping[str, Any]) -> None:
        """Keep a set that is not finished, for the case that the time runs out.

        There are two places in turn, so that one of them is whole whenever this is broken off.
        """
        newest = self.kept(distil_key)
        place = next(place for place in _kept_places(distil_key) if place != newest)
        self.make_room(place)
        self.unfinish_set(place)
        distilled.save(self.set_folder(place))
        self.finish_set(place, info)

    def kept(self, distil_key: str) -> str | None:
        """Return the key under which the newest unfinished set of a cell was kept, or ``None``."""
        found = [(info["outer_steps"], place) for place in _kept_places(distil_key) if (info := self.set_info(place))]
        return max(found)[1] if found else None

    def drop_kept(self, distil_key: str) -> None:
        """Remove what was kept of an unfinished set."""
        for place in _kept_places(distil_key):
            shutil.rmtree(self.set_folder(place), ignore_errors=True)

    def find(self, prefix: str) -> Record:
        """Return the record whose key begins with ``prefix``.

        Raises:
            BenchError: there is none, or more than one.
        """
        keys = sorted(file.stem for file in self.records.glob("*.json") if file.stem.startswith(prefix))
        if len(keys) != 1 or not prefix:
            found = "no record" if not keys else f"{len(keys)} records ({', '.join(key[:12] for key in keys[:4])}, ...)"
            raise BenchError(f"key '{prefix}' fits {found} in {self.records}; give the first digits of one key, as --dry-run shows them")
        try:
            return _read(self.record_file(keys[0]))
        except (OSError, ValueError) as error:
            file = self.record_file(keys[0])
            raise BenchError(f"record {file} is corrupt ({reason_of(error)}); run its command again to replace it") from error


def _kept_places(distil_key: str) -> tuple[str, str]:
    return f"{distil_key}-kept-0", f"{distil_key}-kept-1"


def _text_of(file: Path) -> str | None:
    try:
        return read_text(file)
    except (OSError, ValueError):
        return None


def _read(file: Path) -> Record:
    """Read one record file.

    Raises:
        OSError: it is no regular file, or cannot be opened.
        ValueError: it is not the record of its name.
    """
    record = Record.from_json(read_text(file))
    if record.key != file.stem:
        raise ValueError(f"it is the record of {record.key}")
    return record


def _move_aside(files: list[Path], really: bool) -> str:
    """Rename files, if that is wanted and can be done; say in half a sentence what became of them."""
    one = len(files) == 1
    ignored = "it is ignored" if one else "they are ignored"
    if not really:
        return ignored
    try:
        names = [rename_aside(file, ".corrupt").name for file in files]
    except OSError:
        return ignored
    if one:
        return f"it is set aside as {names[0]} and its cell runs again"
    return "they are set aside as *.json.corrupt and their cells run again"


def _whole_set(folder: Path) -> dict[str, Any]:
    """Return ``distil.json`` of a set, whose checksums hold.

    Raises:
        _NotWhole: they do not, or the set was never finished, or its decoder has another version by now.
    """
    if not os.path.lexists(folder / _MADE):
        raise _NotWhole
    try:
        info: dict[str, Any] = {**_MADE_SET.read(read_text(folder / _MADE))}
    except (OSError, ValueError) as error:
        raise _NotWhole(f"{_MADE} cannot be read: {reason_of(error)}") from error
    files = info.get("files", {})
    if set(files) != {MANIFEST, TENSORS}:
        raise _NotWhole(f"{_MADE} has no checksums, as earlier versions of the suite wrote none")
    if found := difference(folder, files):
        raise _NotWhole(found)
    try:
        manifest = read_manifest(folder)
    except RejectedSet as error:
        raise _NotWhole(str(error)) from error
    name = manifest["parameterization"]
    if name in PARAMETERIZATIONS and PARAMETERIZATIONS[name].version != manifest["version"]:
        raise _NotWhole
    return info
