"""The stage that builds what several cells share, before the first of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import BenchError
from ...nn import spaces  # noqa: F401 - registers the prerequisite of a pixel space, which is no plugin
from ...prerequisite import Need
from ...prerequisite_store import PrerequisiteStore, ensure
from ..store import Store
from .opening import open_dataset, take_device
from .stage import Payload, Report


def prerequisite_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Build a prerequisite, with all that it needs, or find it built; this may wait for another process that builds it.

    Returns:
        ``seconds`` this stage took.

    Raises:
        BenchError: the data set is no longer the one that was planned, or what the builder says.
        RejectedSet: the builder reached for closed files or the network.
    """
    started = time.monotonic()
    about = payload.prerequisite
    dataset, _ = open_dataset(payload, about["dataset"], about["split"], about["data_hash"])
    store = PrerequisiteStore(Store(Path(payload.out)).prerequisites)

    def tell(step: int, total: int, scalars: Mapping[str, float]) -> None:
        report(step, total, {name: float(value) for name, value in scalars.items()})

    need = Need(about["name"], about["config"], about["seed"])
    built = ensure(need, dataset, store, take_device(payload.device), tell, about["data_hash"])
    for warning in store.warnings:
        sys.stdout.write(f"warning: {warning}\n")
    if built.key != about["key"]:
        # Another version of its builder than the one that planned; the cell would not find what it announced.
        raise BenchError(f"prerequisite '{built.name}' was changed after the run was planned; start it again")
    return {"seconds": round(time.monotonic() - started, 3)}
