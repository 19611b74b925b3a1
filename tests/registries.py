"""What plugins of a test register must not be seen by the tests after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench import Dataset, Need, registry
from bench.prerequisite_store import PrerequisiteStore, ensure


@contextmanager
def restored_registries() -> Iterator[Callable[[], None]]:
    """Take what is registered inside out of the registries again, at the end or when the given function is called."""
    registries = registry._ALL
    before = [dict(r._entries) for r in registries]
    unavailable, modules = dict(registry.UNAVAILABLE), set(sys.modules)

    def restore() -> None:
        for entries, r in zip(before, registries, strict=True):
            r._entries.clear()
            r._entries.update(entries)
        registry.UNAVAILABLE.clear()
        registry.UNAVAILABLE.update(unavailable)
        for name in set(sys.modules) - modules:
            if name.startswith("ddbench_plugin_"):
                del sys.modules[name]

    try:
        yield restore
    finally:
        restore()


def prerequisites_in(folder: Path, dataset: Dataset) -> Callable[[Need], Path]:
    """Return what opens prerequisites of a data set, and builds them in ``folder`` where they are not there."""
    return lambda need: ensure(need, dataset, PrerequisiteStore(folder / "prerequisites"), torch.device("cpu")).path
