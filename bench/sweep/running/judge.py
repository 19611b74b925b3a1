"""The stage that judges: the set on disk, or the full data, becomes a record."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...distilled import read_manifest
from ...errors import RejectedSet
from ...judge import judge_folder, judge_full_data, write_pictures
from ...nn.convnet import library
from ...record import Cell, Record, mean
from .environment import peak_memory_mb
from .opening import Opened, device_name, open_cell
from .plugin_files import surroundings_of
from .stage import Payload, Report


def judge_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Judge the set on disk (or the full data) and write the record.

    Returns:
        ``seconds`` this stage took and ``accuracy``, the mean final test accuracy.

    Raises:
        RejectedSet: the audit says so.
    """
    started, started_at = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%S")
    opened = open_cell(payload)
    record = Record(
        key=payload.key,
        distil_key=payload.distil_key,
        status="ok",
        cell=opened.cell,
        started=started_at,
        log=payload.log,
    )
    if opened.cell.kind == "full_data":
        _judge_full_data(record, opened, report)
    else:
        _judge_distilled(record, opened, report)
    seconds = round(time.monotonic() - started, 3)
    record.seconds = {"distil": 0.0, **payload.seconds, "judge": seconds}
    record.peak_memory_mb = peak_memory_mb()
    record.environment = {
        **surroundings_of(opened.cell, payload.environment, _decoders(payload, opened)),
        "device": device_name(opened.device),
        "kernels": kernels(payload.device),
        "precision": "float32",
        **{name: value for name, value in record.distil.get("computed", {}).items() if name in ("engine", "precision")},
    }
    opened.store.write(record)
    return {"seconds": seconds, "accuracy": mean(record.scores["final"]["test"])}


def _decoders(payload: Payload, opened: Opened) -> tuple[str, ...]:
    """Return which parameterizations the cell's set needs."""
    return (read_manifest(opened.store.set_folder(payload.distil_key))["parameterization"],) if payload.distil_key else ()


def kernels(device: str) -> str:
    """Say which kernels train ConvNets here: those the suite compiles for the CPU, or PyTorch's own. They round differently."""
    return "compiled" if device.startswith("cpu") and library.load()[0] is not None else "PyTorch"


def _judge_distilled(record: Record, opened: Opened, report: Report) -> None:
    cell, store = record.cell, opened.store
    info = store.set_info(record.distil_key)
    if info is None:
        raise RejectedSet(f"the set {record.distil_key} is not complete")
    # The set may be older than the code of today; the record tells by which code it was made.
    record.cell = replace(cell, code_hash=info.pop("code_hash", cell.code_hash))
    info.pop("environment", None)
    record.distil = info
    judgement = judge_folder(
        store.set_folder(record.distil_key),
        opened.dataset,
        opened.budget,
        opened.protocol,
        cell.seed,
        store.prerequisites,
        device=opened.device,
        on_progress=lambda done, total: report(done, total, {}),
    )
    record.audit, record.scores, record.training = judgement.audit, judgement.scores, judgement.training
    record.cell.notes = [*cell.notes, *judgement.notes]
    stem, title = picture_stem(cell, record.key), picture_title(cell, mean(record.scores["final"]["test"]))
    written = write_pictures(judgement.distilled, judgement.space, store.pictures, stem, title)
    record.pictures = [f"pictures/{Path(path).name}" for path in written]


def _judge_full_data(record: Record, opened: Opened, report: Report) -> None:
    cell = record.cell
    judgement = judge_full_data(
        opened.dataset,
        opened.protocol,
        cell.seed,
        opened.store.prerequisites,
        device=opened.device,
        on_progress=lambda done, total: report(done, total, {}),
    )
    record.audit, record.scores, record.training = judgement.audit, judgement.scores, judgement.training
    record.cell.notes = [*cell.notes, *judgement.notes]


def picture_stem(cell: Cell, key: str) -> str:
    """Return the file name of a cell's pictures, readable and free of brackets."""
    text = f"{cell.dataset}-{cell.label}-{cell.budget['requested']}-seed{cell.seed}"
    return f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', text)[:100]}-{key[:8]}"


def picture_title(cell: Cell, accuracy: float) -> str:
    """Return what stands on top of a cell's pictures."""
    budget = f"{cell.budget['ipc']:.4g} IPC ({cell.budget['pixels']:,} px)"
    return f"{cell.label} on {cell.dataset}, {budget}, seed {cell.seed}: {100 * accuracy:.1f} %"
