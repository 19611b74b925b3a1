"""What the run files of an out folder say of paths. Records do not: they travel, and paths are private. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..brackets import without_paths
from ..errors import BenchError
from ..sweep.store import Store
from ..yaml_text import read_yaml_file


def earlier_runs(store: Store) -> list[Mapping[str, Any]]:
    """Return what the runs on an out folder were asked to do, the newest first; files that cannot be read are left out."""
    return list(_readable([store.out / "run.yaml", *sorted(store.runs.glob("*.yaml"), reverse=True)]))


def _readable(files: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    for file in files:
        try:
            content = read_yaml_file(file, "run file")
        except BenchError:
            continue
        if isinstance(content, dict):
            yield content


def where_plugin_was(name: str, runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the path by which a run was given the plugin file called ``name``, if the file is still there."""
    for run in runs:
        for path in _texts(run.get("plugin")):
            if Path(path).name == name and Path(path).is_file():
                return path
    return None


def data_root_of(dataset: str, runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the folder from which a run took a data set, if it was given one that is still there."""
    for run in runs:
        root = run.get("data-root")
        if dataset in map(without_paths, _texts(run.get("datasets"))):
            return root if isinstance(root, str) and Path(root).is_dir() else None
    return None


def asked_for(dataset: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return how a run asked for a data set, with the whole path of its folder if it is one."""
    asked = (text for run in runs for text in _texts(run.get("datasets")))
    return next((text for text in asked if without_paths(text) == dataset), dataset)


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
