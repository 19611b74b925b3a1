"""The stage that judges: the set on disk, or the full data, becomes a record."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BenchError
from ...judge import judge_folder, judge_full_data, write_pictures
from ...nn.convnet import library
from ...record import Cell, Record, mean
from .environment import peak_memory_mb
from .opening import Opened, device_name, open_cell
from .plugin_files import surroundings_of
from .stage import Payload, Report


def judge_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Judge the set on disk (or the full data) and write the record, unless another runner on the folder has done so meanwhile.

    Returns:
        ``seconds`` this stage took and ``accuracy``, the mean final test accuracy.

    Raises:
        BenchError: the set on disk is not the one that was made.
        RejectedSet: the audit says so.
    """
    opened = open_cell(payload)
    # Whoever makes the set anew holds the same claim, so it is read as a whole.
    with opened.store.claim(payload.distil_key or payload.key):
        found = None if payload.redistil else opened.store.read(payload.key)
        if payload.timed_out and not payload.redistil and opened.store.set_info(payload.distil_key) is not None:
            raise BenchError("the set was finished meanwhile; run the same command again with --rerun timeout to judge it")
        if found is not None and found.status == "ok" and found.started != payload.judged_at:
            sys.stdout.write("another runner has judged this cell meanwhile\n")
            return {"seconds": 0.0, "accuracy": mean(found.scores["final"]["test"])}
        return _judge(payload, opened, report)


def _judge(payload: Payload, opened: Opened, report: Report) -> dict[str, Any]:
    started, started_at = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%S")
    record = Record(
        key=payload.key,
        distil_key=payload.distil_key,
        status="timeout" if payload.timed_out else "ok",
        cell=opened.cell,
        started=started_at,
        log=payload.log,
    )
    if payload.timed_out:
        # The folder of the cell's own set stays empty, so that nobody takes this one for it.
        record.distil_key = _kept_of(opened, payload.distil_key)
    decoders = (_judge_full_data if opened.cell.kind == "full_data" else _judge_distilled)(record, opened, report)
    if payload.timed_out:
        reached = f"{record.distil['outer_steps']} of {record.cell.outer_steps} outer steps"
        record.reason = f"{payload.timed_out}; the set after {reached} was judged"
    seconds = round(time.monotonic() - started, 3)
    record.seconds = {"distil": 0.0, **payload.seconds, "judge": seconds}
    record.peak_memory_mb = peak_memory_mb()
    record.environment = {
        **surroundings_of(opened.cell, payload.environment, decoders),
        "device": device_name(opened.device),
        "kernels": kernels(payload.device),
        "precision": "float32",
        **{name: value for name, value in record.distil.get("computed", {}).items() if name in ("engine", "precision")},
    }
    opened.store.write(record)
    return {"seconds": seconds, "accuracy": mean(record.scores["final"]["test"])}


def _kept_of(opened: Opened, distil_key: str) -> str:
    """Return under which key an unfinished set was kept.

    Raises:
        BenchError: there is none.
    """
    if (kept := opened.store.kept(distil_key)) is None:
        raise BenchError("the method had offered no set by then")
    return kept


def kernels(device: str) -> str:
    """Say which kernels train ConvNets here: those the suite compiles for the CPU, or PyTorch's own. They round differently."""
    return "compiled" if device.startswith("cpu") and library.load()[0] is not None else "PyTorch"


def _judge_distilled(record: Record, opened: Opened, report: Report) -> tuple[str, ...]:
    """Fill in the record of a distilled set, and return which parameterizations it needs."""
    cell, store = record.cell, opened.store
    info = store.set_info(record.distil_key)
    if info is None and (damage := store.set_damage(record.distil_key)):
        raise BenchError(f"the set {record.distil_key} is damaged ({damage}); run the same command again to make it anew")
    if info is None:
        raise BenchError(f"the set {record.distil_key} is not complete; run the same command with --rerun failed to make it")
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
    return (judgement.distilled.parameterization.name,)


def _judge_full_data(record: Record, opened: Opened, report: Report) -> tuple[str, ...]:
    """Fill in the record of the full-data line, which needs no parameterization."""
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
    return ()


def picture_stem(cell: Cell, key: str) -> str:
    """Return the file name of a cell's pictures, readable and free of brackets."""
    text = f"{cell.dataset}-{cell.label}-{cell.budget['requested']}-seed{cell.seed}"
    return f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', text)[:100]}-{key[:8]}"


def picture_title(cell: Cell, accuracy: float) -> str:
    """Return what stands on top of a cell's pictures."""
    budget = f"{cell.budget['ipc']:.4g} IPC ({cell.budget['pixels']:,} px)"
    return f"{cell.label} on {cell.dataset}, {budget}, seed {cell.seed}: {100 * accuracy:.1f} %"
