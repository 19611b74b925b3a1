"""Prerequisites on disk: built once under a lock, checked when they are opened, read-only from then on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from filelock import FileLock
from pydantic import Field, with_config
from typing_extensions import TypedDict

from .errors import BenchError, RejectedSet, did_you_mean, reason_of
from .fields import hyperparameters
from .files import Checksum, checksum, difference, lock, make_way, read_text, set_aside
from .guard import guarded
from .keys import readable_json
from .prerequisite import Need, Prerequisite, Workshop, unannounced
from .registry import PREREQUISITES
from .schema import FINITE, STRICT, Amount, Count, Key, Name, Schema

if TYPE_CHECKING:
    import torch

    from .data import Dataset

MANIFEST = "manifest.json"
_SCHEMA = 1


@with_config(STRICT)
class BuiltManifest(TypedDict):
    """How a prerequisite was made, and what its files are."""

    schema: Annotated[int, Field(ge=_SCHEMA, le=_SCHEMA)]
    key: Key
    name: Name
    version: Count
    config: Annotated[dict[str, Any], FINITE]
    seed: int
    data: str
    device: str
    seconds: Amount
    files: Annotated[dict[str, Checksum], Field(min_length=1)]


_MANIFEST_FILE: Schema[BuiltManifest] = Schema(BuiltManifest)


@dataclass(frozen=True)
class Built:
    """A prerequisite that is there.

    Attributes:
        name: registered name.
        key: hash of everything that can change its files.
        path: its folder.
        seconds: what building it took, whenever that was.
        config: all fields of its builder.
        seed: which of several equal ones.
        fresh: whether this very call built it.
    """

    name: str
    key: str
    path: Path
    seconds: float
    config: Mapping[str, Any]
    seed: int
    fresh: bool


class _Damaged(Exception):
    """The files on disk are not what was built; the text says why."""


@dataclass
class PrerequisiteStore:
    """A folder with one folder per prerequisite, named by its key.

    Beside ``<key>/`` lie ``<key>.lock``, and while it is built ``.building-<key>/``, which an interrupted build leaves
    behind and the next one goes on from. ``<key>/manifest.json`` tells how it was made and has size and SHA-256 of every file.

    Attributes:
        folder: where prerequisites are read and built; it need not exist to be read.
        look_first: a folder to look into before, which is never changed: what a dry run reads while it builds elsewhere.
        warnings: a sentence for everything damaged that was met.
    """

    folder: Path
    look_first: Path | None = None
    warnings: list[str] = field(default_factory=list)

    def find(self, key: str, writes: Sequence[str] = ()) -> Path | None:
        """Return the folder of a prerequisite, checked against its manifest, or ``None`` if there is no whole one.

        Args:
            key: names the folder.
            writes: files that must be among those of the manifest (``Prerequisite.writes``).
        """
        for home in filter(None, (self.look_first, self.folder)):
            if not os.path.lexists(home / key):
                continue
            try:
                _check(home / key, key, writes)
                return home / key
            except _Damaged as damage:
                sentence = f"prerequisite {home / key} is damaged ({damage}); it counts as missing and is built again"
                if sentence not in self.warnings:
                    self.warnings.append(sentence)
        return None

    def manifest(self, path: Path) -> BuiltManifest:
        """Return the manifest of a folder that ``find`` returned."""
        return _MANIFEST_FILE.read(read_text(path / MANIFEST))

    def lock(self, key: str) -> FileLock:
        """Return the lock that whoever builds ``key`` holds."""
        return lock(self.folder / f"{key}.lock")

    def workplace(self, key: str) -> Path:
        """Return the folder to build ``key`` in, with whatever an interrupted build left there. The lock must be held."""
        place = self.folder / f".building-{key}"
        if os.path.lexists(place) and not place.is_dir():
            set_aside(place, ".damaged")
        place.mkdir(parents=True, exist_ok=True)
        make_way(place / MANIFEST, ".damaged")
        (place / MANIFEST).unlink(missing_ok=True)  # only what is whole may have one
        for file in _files(place):
            file.chmod(0o644)  # the build may have been interrupted at its very end
        return place

    def finish(self, key: str, about: Mapping[str, Any], writes: Sequence[str] = ()) -> Path:
        """Turn the workplace of ``key`` into the prerequisite: list and seal its files, and give it its name.

        Args:
            key: names the folder.
            about: what the manifest tells beside the files.
            writes: files that must be there (``Prerequisite.writes``).

        Returns:
            The folder.

        Raises:
            RuntimeError: the builder wrote nothing, or not all that it says it writes.
        """
        place, target = self.folder / f".building-{key}", self.folder / key
        listed = {file.relative_to(place).as_posix(): checksum(file) for file in _files(place)}
        if not listed:
            raise RuntimeError(f"prerequisite '{about['name']}' wrote no file into its folder")
        if absent := [name for name in writes if name not in listed]:
            raise RuntimeError(f"prerequisite '{about['name']}' did not write {absent[0]}, which it says it writes")
        manifest = {"schema": _SCHEMA, "key": key, **about, "files": listed}
        (place / MANIFEST).write_text(readable_json(manifest), encoding="utf-8")
        for file in _files(place):
            file.chmod(0o444)  # files only: users could not delete their results if the folders were read-only too
        if os.path.lexists(target):  # what ``find`` called damaged; the lock is held, or a rival's new one could be hit
            set_aside(target, ".damaged")
        os.replace(place, target)  # the manifest comes with its files, so nobody ever sees half of them
        return target


def resolve(need: Need) -> Prerequisite:
    """Return the builder that ``need`` asks for, its config checked against the builder's fields.

    Raises:
        BenchError: unknown name, unknown field, or a value that does not fit it.
    """
    kind: type[Prerequisite] = PREREQUISITES[need.name]
    known, checked = hyperparameters(kind, f"prerequisite '{need.name}'"), {}  # type: ignore[arg-type]
    for key, value in need.config.items():
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise BenchError(f"prerequisite '{need.name}' has no field '{key}'{hint} (fields: {', '.join(known) or 'none'})")
        checked[key] = known[key].read(value, f"prerequisite '{need.name}': field '{key}'")
    return kind(**checked)


def config_of(builder: Prerequisite) -> dict[str, Any]:
    """Return all fields of a builder."""
    return asdict(builder)  # type: ignore[call-overload, no-any-return]


def ensure(
    need: Need,
    dataset: Dataset,
    store: PrerequisiteStore,
    device: torch.device | None = None,
    report: Callable[[int, int, Mapping[str, float]], None] | None = None,
    data_hash: str | None = None,
) -> Built:
    """Return a prerequisite, and build it first, with all that it needs, where it is not there.

    Of several processes that want one at the same time, one builds it and the others wait for it.

    Args:
        need: what is asked for.
        dataset: what it is built from; its test split stays closed, and so do its files.
        store: where it is looked up and built.
        device: where to compute; the default is the CPU.
        report: called with ``(step, total, scalars)`` of the one that is being built.
        data_hash: ``dataset.fingerprint()``, if the caller has it: it takes a while on a large data set.

    Raises:
        BenchError: the need names something unknown, or what the builder says.
        RejectedSet: the builder reached for closed files or the network.
    """
    import torch  # here, so that whoever only reads needs none

    builder = resolve(need)
    device = device or torch.device("cpu")
    data_hash = data_hash or dataset.fingerprint()
    key = builder.key(need.seed, data_hash)
    path, fresh = store.find(key, builder.writes), False
    if path is None:
        before = builder.needs(need.seed)
        for other in before:  # before the lock is taken, so that nobody ever holds two
            ensure(other, dataset, store, device, report, data_hash)
        with store.lock(key):
            path = store.find(key, builder.writes)  # a rival may have been faster
            if path is None:
                workshop = Workshop(
                    spec=dataset.spec,
                    train=dataset.train,
                    seed=need.seed,
                    key=key,
                    folder=store.workplace(key),
                    device=device,
                    find=opener(before, store, data_hash),
                    on_report=report or (lambda *_: None),
                )
                seconds = _build(builder, workshop, dataset)
                about = {"name": need.name, "version": builder.version, "config": config_of(builder), "seed": need.seed, "data": data_hash}
                path = store.finish(key, {**about, "device": device.type, "seconds": seconds}, builder.writes)
                fresh = True
    seconds = float(store.manifest(path)["seconds"])
    return Built(need.name, key, path, seconds, config_of(builder), need.seed, fresh)


def opener(needs: tuple[Need, ...], store: PrerequisiteStore, data_hash: str) -> Callable[[Need], Path]:
    """Return what opens the announced prerequisites, and builds none.

    What it returns raises LookupError for one that is not among ``needs``, and BenchError for one that is not there.
    """
    announced = {resolve(need).key(need.seed, data_hash) for need in needs}

    def find(need: Need) -> Path:
        builder = resolve(need)
        key = builder.key(need.seed, data_hash)
        if key not in announced:
            raise unannounced(need)
        path = store.find(key, builder.writes)
        if path is None:
            raise BenchError(f"prerequisite '{need.name}' is missing or damaged in {store.folder / key}; run the command again to build it")
        return path

    return find


def _build(builder: Prerequisite, workshop: Workshop, dataset: Dataset) -> float:
    """Let the builder work, what is closed to it being closed; return its seconds, those of interrupted tries included."""
    spent = workshop.folder.with_name(f"{workshop.folder.name}.seconds")
    make_way(spent, ".damaged")
    started, earlier = time.monotonic(), 0.0
    with suppress(OSError, ValueError):
        noted = float(read_text(spent))
        earlier = noted if 0.0 <= noted < math.inf else 0.0
    try:
        with guarded(dataset.files, no_network=True) as violations:
            try:
                builder.build(workshop)
            finally:
                # A refusal that the builder caught, or turned into another error, is still a refusal.
                if violations:
                    raise RejectedSet(f"while it was built, prerequisite '{builder.name}' {violations[0]}, which is closed to it")
    except BaseException:  # Ctrl-C as well: its seconds count
        with suppress(OSError):  # a full disk must not hide what went wrong before
            spent.write_text(str(earlier + time.monotonic() - started))
        raise
    seconds = round(earlier + time.monotonic() - started, 3)
    spent.unlink(missing_ok=True)
    return seconds


def _check(folder: Path, key: str, writes: Sequence[str]) -> None:
    """Compare the files of a prerequisite with its manifest, and with what its builder writes today.

    Raises:
        _Damaged: they differ.
    """
    if not folder.is_dir():
        raise _Damaged("it is not a folder")
    try:
        manifest = _MANIFEST_FILE.read(read_text(folder / MANIFEST))
    except FileNotFoundError as error:
        raise _Damaged(f"{MANIFEST} is missing") from error
    except (OSError, ValueError) as error:
        raise _Damaged(f"its manifest cannot be read: {reason_of(error)}") from error
    if manifest["key"] != key:
        raise _Damaged("the manifest is of something else")
    if found := difference(folder, manifest["files"]):
        raise _Damaged(found)
    if absent := [name for name in writes if name not in manifest["files"]]:
        raise _Damaged(f"{absent[0]} is not among its files: it was built before there was such a file")


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(file for file in folder.rglob("*") if file.is_file()))
