"""The program text of methods as the last runs on a folder found it, so that a report knows old results without importing methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..files import make_way, read_text, write_text
from ..keys import canonical_json, readable_json
from ..record import Cell, Record
from ..schema import Schema
from .store import Store

_HASHES: Schema[dict[str, str]] = Schema(dict[str, str])


def remember_code(store: Store, planned: Iterable[Cell]) -> None:
    """Note the code hashes of planned cells in ``code.json``; what they do not touch stays."""
    with store.claim("code"):  # or of two runners that plan together, one would forget what the other saw
        seen = code_seen(store)
        found = {**seen, **{_whose_code(cell): cell.code_hash for cell in planned}}
        if found != seen:
            make_way(_file(store), ".damaged")
            write_text(_file(store), readable_json(found))


def code_seen(store: Store) -> dict[str, str]:
    """Return the noted hashes; none where the file is not there or cannot be read, as the next run writes it again."""
    try:
        return _HASHES.read(read_text(_file(store)))
    except (OSError, ValueError):
        return {}


def stale_keys(records: Mapping[str, Record], seen: Mapping[str, str]) -> set[str]:
    """Return the keys of records whose set was made by other code than was seen last; nobody knows of a method never planned here."""
    return {key for key, record in records.items() if seen.get(_whose_code(record.cell), record.cell.code_hash) != record.cell.code_hash}


def _file(store: Store) -> Path:
    return store.out / "code.json"


def _whose_code(cell: Cell) -> str:
    """Say which code a code hash is of: the method, the parts it was made of, and the prerequisites they needed."""
    return canonical_json([cell.method, cell.parts, sorted(str(needed.get("name")) for needed in cell.prerequisites)])
