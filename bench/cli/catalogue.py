"""The text of ``list``: which methods, data sets and protocols there are, and which of them can be used here."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..data import DataOptions, NotThere
from ..dataset_family import is_family, required
from ..decoded import DecodedStore
from ..errors import BenchError
from ..judge.protocol import DESCRIPTIONS, PROTOCOLS
from ..loading import array_datasets, find_dataset, load_dataset
from ..registry import DATASETS, FORMS, METHODS, OBJECTIVES, PREREQUISITES, SELECTIONS, UNAVAILABLE, Registry
from ..sweep.readers import DEFAULTS, read_config


def catalogue(options: DataOptions) -> str:
    """Return tables of methods, their parts, data sets and protocols, and the plugins that do not import with their reasons."""
    parts = [_methods(), *map(_parts, (FORMS, OBJECTIVES, SELECTIONS, PREREQUISITES)), _datasets(options), _protocols()]
    if UNAVAILABLE:
        parts.append(_table("not available", [(name, reason) for name, reason in sorted(UNAVAILABLE.items())], ("plugin", "reason")))
    return "\n\n".join(parts)


def combinations_text() -> str:
    """Return a table of forms by objectives, planned on the data set that a sweep takes by default, and every refusal."""
    from ..contract.combinations import as_sentences, as_table, combinations

    dataset = load_dataset(read_config(DEFAULTS)["datasets"][0])
    with tempfile.TemporaryDirectory(prefix="ddbench-combinations-") as scratch:
        found = combinations(dataset, Path(scratch))
    return f"{as_table(found)}\n\n{as_sentences(found)}"


def _methods() -> str:
    rows = [(name, "available", _sentence(METHODS[name]), METHODS[name].reference) for name in METHODS]
    return _table("methods", rows, ("name", "here", "what it is", "reference"))


def _parts(registry: Registry[Any]) -> str:
    """Return a table of one kind of part."""
    rows = [(name, _sentence(registry[name]), getattr(registry[name], "reference", "")) for name in registry]
    columns = 3 if any(row[2] for row in rows) else 2
    return _table(f"{registry.kind}s", [row[:columns] for row in rows], ("name", "what it is", "reference")[:columns])


def _datasets(options: DataOptions) -> str:
    rows = [(name, *_dataset(name, options)) for name in (*DATASETS, *array_datasets(options.root))]
    return _table("data sets", rows, ("name", "here", "what it is", "reference"))


def _dataset(name: str, options: DataOptions) -> tuple[str, str, str]:
    """Return whether a data set can be used here, what it is, and where it comes from."""
    if name in DATASETS and is_family(entry := DATASETS[name]) and (needed := required(entry)):
        return f"with {', '.join(needed)}", _sentence(entry), entry.reference
    try:
        load = find_dataset(name, options.root)
    except BenchError as error:
        return "not usable", str(error), ""
    if getattr(load, "keep", False) and DecodedStore(options.root).find(name) is None:
        return "once it is prepared", _sentence(load), load.reference  # looking closer would decode it
    try:
        found = load_dataset(name, "paper", DataOptions(options.root, download=False))
    except NotThere:
        return "downloaded when asked for" if options.download else "not there", _sentence(load), load.reference
    except BenchError as error:
        return "not usable", str(error), load.reference
    spec = found.spec
    size = f"{spec.classes} classes, {len(found.train)} images of {spec.channels}x{spec.height}x{spec.width}"
    return "available" if found.official else "available (unofficial)", size, load.reference


def _protocols() -> str:
    rows = [(name, f"{p.students} students", DESCRIPTIONS[name], p.hash) for name, p in sorted(PROTOCOLS.items())]
    return _table("protocols", rows, ("name", "judged by", "what it is", "hash"))


def _table(title: str, rows: Sequence[tuple[str, ...]], headers: tuple[str, ...]) -> str:
    body = tabulate(rows, headers, tablefmt="plain", disable_numparse=True).splitlines()
    return "\n".join([title, *(f"  {line}" for line in body)])


def _sentence(plugin: object) -> str:
    """Return the first sentence of a docstring."""
    text = (inspect.getdoc(plugin) or "").partition("\n\n")[0]
    return " ".join(text.split()).partition(". ")[0].rstrip(".")
