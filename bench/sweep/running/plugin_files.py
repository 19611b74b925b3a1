"""Which of the files given by ``--plugin`` a cell needs, so that its record names them and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...record import Cell
from ...registry import DATASETS, FORMS, METHODS, OBJECTIVES, PARAMETERIZATIONS, PREREQUISITES, SELECTIONS, Registry, plugin_file_of

_PARTS: dict[str, Registry[Any]] = {registry.kind: registry for registry in (FORMS, OBJECTIVES, SELECTIONS)}


def surroundings_of(cell: Cell, environment: dict[str, Any], decoders: Iterable[str] | None = None) -> dict[str, Any]:
    """Return what a record says of a run's surroundings, with the plugins that its cell needs and no others.

    Args:
        cell: what is run.
        environment: of the whole run.
        decoders: names of the parameterizations that are used; ``None`` if nobody knows yet, so that all count.
    """
    if "plugins" not in environment:
        return environment
    needed = {file.name for entry in _entries(cell, decoders) if (file := plugin_file_of(entry)) is not None}
    kept = [name for name in environment["plugins"] if name in needed]
    others = {name: value for name, value in environment.items() if name != "plugins"}
    return {**others, "plugins": kept} if kept else others


def _entries(cell: Cell, decoders: Iterable[str] | None) -> Iterator[Any]:
    """Yield what is registered and used by a cell, and the bases of its classes."""
    named = [(DATASETS, cell.dataset.partition("[")[0]), (METHODS, cell.method)]
    named += [(_PARTS[kind], name) for kind, name in cell.parts.items() if kind in _PARTS]
    named += [(PREREQUISITES, str(needed.get("name"))) for needed in cell.prerequisites]
    named += [(PARAMETERIZATIONS, name) for name in (PARAMETERIZATIONS if decoders is None else decoders)]
    for registry, name in named:
        if name in registry:
            entry = registry[name]
            yield from entry.__mro__ if isinstance(entry, type) else (entry,)
