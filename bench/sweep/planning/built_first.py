"""What pending cells share and is not there yet: how many of each kind, their room on disk, and their time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...data import Dataset, Spec
from ...prerequisite import Need
from ...prerequisite_store import resolve
from ..store import Store
from .estimate import readable
from .plan import Plan


def built_first(plan: Plan, store: Store, rate: Callable[[Spec], float]) -> str:
    """Say what will be built before the first cell, or return an empty string.

    Args:
        plan: its pending cells are known.
        store: where prerequisites lie.
        rate: operations per second on a data set's networks; asked only where a builder counts its operations.
    """
    missing: dict[str, tuple[Dataset, dict[str, Any]]] = {}
    for planned in plan.pending():
        if planned.distil_key and (planned.redistil or store.set_info(planned.distil_key) is None):
            for needed in planned.cell.prerequisites:
                if not os.path.lexists(store.prerequisites / needed["key"]):
                    missing[needed["key"]] = plan.datasets[planned.cell.dataset], needed
    counts, sizes = Counter[str](), Counter[str]()
    times: dict[str, float] = {}
    for dataset, needed in missing.values():
        name, builder = needed["name"], resolve(Need(needed["name"], needed["config"], needed["seed"]))
        counts[name] += 1
        sizes[name] += builder.disk_bytes(dataset.spec) or 0
        if (flops := builder.flops(dataset.spec, len(dataset.train))) is not None:
            times[name] = times.get(name, 0.0) + flops / rate(dataset.spec)
    parts = []
    for name, count in sorted(counts.items()):
        known = [_size(sizes[name])] if sizes[name] else []
        if name in times:
            known.append(f"about {readable(times[name])} of one core")
        parts.append(f"{count} {name}" + (f" ({', '.join(known)})" if known else ""))
    return f"built first, once for all cells: {', '.join(parts)}" if parts else ""


def _size(size: float) -> str:
    """Write a number of bytes with the unit that fits it."""
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if size >= unit), (1e3, "kB"))
    return f"{size / unit:.{1 if size < 10 * unit else 0}f} {name} on disk"
