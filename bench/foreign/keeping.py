"""Keeping an imported set in an out folder, where the method that takes part in sweeps finds it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..distilled import DistilledSet
from ..errors import BenchError, RejectedSet
from ..fields import hyperparameters
from ..files import set_aside
from ..imported_set import ImportedSet, found_set, need_of, write_set
from ..prerequisite_store import PrerequisiteStore, config_of, resolve
from ..yaml_text import read_yaml


@dataclass(frozen=True)
class Kept:
    """Where a set was put.

    Attributes:
        folder: of the set.
        replaced: origin of another set that had the name before, or empty.
    """

    folder: Path
    replaced: str


def check_name(name: str) -> None:
    """Refuse a name that could not be typed in brackets or be one of a folder.

    Raises:
        BenchError: says what it may be made of.
    """
    if not name:
        raise BenchError("--name is empty; call the set something, such as dc_1ipc")
    hyperparameters(ImportedSet, "an imported set")["set"].read(name, "--name")
    if not isinstance(read_yaml(name, "--name"), str):
        raise BenchError(f"--name is {name}, which imported[name={name}] reads as no text; begin it with a word, such as set_{name}")


def keep_set(distilled: DistilledSet, name: str, store: PrerequisiteStore) -> Kept:
    """Write a set as the finished prerequisite of its name; another one of that name makes room.

    Raises:
        OSError: it cannot be written.
    """
    builder = resolve(need_of(name))
    key = builder.key(0, "")
    with store.lock(key):
        before = _origin_of(store, key)
        place = store.workplace(key)
        write_set(distilled, place)
        old = store.folder / key
        replaced = set_aside(old, ".replaced") if os.path.lexists(old) else None  # it stays until the new one is whole
        about = {"name": builder.name, "version": builder.version, "config": config_of(builder), "seed": 0, "data": distilled.spec.name}
        folder = store.finish(key, {**about, "device": "cpu", "seconds": 0.0})
        if replaced is not None:
            shutil.rmtree(replaced, ignore_errors=True)
    found = found_set(folder)
    return Kept(found.folder, before if before != found.origin else "")


def _origin_of(store: PrerequisiteStore, key: str) -> str:
    found = store.find(key)
    try:
        return found_set(found).origin if found is not None else ""
    except (RejectedSet, OSError):
        return "files that are no longer whole"
