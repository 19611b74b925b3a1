"""The two stages of a cell, each run in a process of its own: make the set, and judge it from disk.

A payload is plain JSON, so that any way of starting processes can carry it:
``cell`` (see ``bench.record.Cell``), ``key``, ``distil_key``, ``out``, ``log``, ``plugins``, ``data`` (root), ``device``,
``students``, ``environment``, ``redistil``, and for the judge ``distil_seconds`` spent by this run.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from ...budget import Budget, BudgetRequest
from ...data import DataOptions, Dataset, SplitName, load_dataset
from ...distilled import DistilledSet
from ...errors import BenchError, RejectedSet
from ...files import write_text
from ...guard import guarded
from ...judge import Validator, get_protocol, judge_ceiling, judge_set, write_pictures
from ...keys import readable_json
from ...method import Task
from ...nn.convnet import library as native
from ...nn.spaces import fit_space
from ...record import Cell, Record
from ...registry import METHODS, discover
from ..store import Store
from .checkpoint import CheckpointFile
from .environment import peak_memory_mb
from .rebuild import rebuild_method

Payload = dict[str, Any]
Report = Callable[[int, int, dict[str, float]], None]

_LOG_EVERY = 10.0  # seconds between progress lines in a cell's log


def distil_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Make the distilled set of a cell and save it under ``sets/<distil key>``.

    Returns:
        ``seconds`` this stage took.

    Raises:
        RejectedSet: the method reached for closed files, or what it returned cannot be stored.
    """
    started = time.monotonic()
    cell, dataset, store = _open(payload)
    folder = store.set_folder(payload["distil_key"])
    checkpoint = CheckpointFile(folder / "checkpoint.safetensors", cell.code_hash)
    if payload["redistil"]:
        checkpoint.discard()
    resume_from = checkpoint.load()
    validator = _validator(payload, cell, dataset, store)
    dataset = replace(dataset, val=None)  # from here on val images are in the validator's process only
    method = rebuild_method(METHODS[cell.method], cell.fields)
    computed: dict[str, str | float] = {}
    task = Task(
        spec=dataset.spec,
        train=dataset.train,
        budget=_budget(cell, dataset),
        seed=cell.seed,
        key=payload["distil_key"],
        open_space=lambda name: fit_space(name, dataset.train, store.prerequisites, cell.data_hash),
        device=_use(payload["device"]),
        effort=cell.effort,
        on_report=_logged(report),
        on_note=computed.update,
        on_checkpoint=lambda state: checkpoint.offer(state, validator.calls if validator else 0),
        resume_from=resume_from,
        score=validator.score if validator else None,
    )
    try:
        with guarded(dataset.files) as violations:
            try:
                distilled = method.distill(task)
            finally:
                # A refusal that the plugin caught, or turned into another error, is still a refusal.
                _reject_violations(violations)
    finally:
        if validator is not None:
            validator.close()
    _save(distilled, folder)
    info = {
        "seconds": round(checkpoint.seconds_before + time.monotonic() - started, 3),
        "outer_steps": cell.outer_steps,
        "validate_calls": checkpoint.calls_before + (validator.calls if validator else 0),
        "peak_memory_mb": peak_memory_mb(),
        "code_hash": cell.code_hash,
        "device": _device_name(payload["device"]),
        "computed": computed,
        "environment": payload["environment"],
    }
    write_text(folder / "distil.json", readable_json(info))
    checkpoint.discard()
    return {"seconds": round(time.monotonic() - started, 3)}


def judge_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Judge the set on disk (or the full data) and write the record.

    Returns:
        ``seconds`` this stage took and ``accuracy``, the mean final test accuracy.

    Raises:
        RejectedSet: the audit says so.
    """
    started, started_at = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%S")
    cell, dataset, store = _open(payload)
    record = Record(
        key=payload["key"],
        distil_key=payload["distil_key"],
        status="ok",
        cell=cell,
        started=started_at,
        log=payload["log"],
    )
    if cell.kind == "ceiling":
        _judge_full_data(payload, record, dataset, store, report)
    else:
        _judge_distilled(payload, record, dataset, store, report)
    seconds = round(time.monotonic() - started, 3)
    record.seconds = {"distil": payload.get("distil_seconds", 0.0), "judge": seconds}
    record.peak_memory_mb = peak_memory_mb()
    record.environment = {
        **payload["environment"],
        "device": _device_name(payload["device"]),
        "kernels": kernels(payload["device"]),
        "precision": "float32",
        **{name: value for name, value in record.distil.get("computed", {}).items() if name in ("engine", "precision")},
    }
    store.write(record)
    final = record.scores["final"]["test"]
    return {"seconds": seconds, "accuracy": sum(final) / len(final)}


def _use(device: str) -> torch.device:
    """Return the device of this process, and make it the one that PyTorch takes where none is named."""
    found = torch.device(device)
    if found.type == "cuda":
        torch.cuda.set_device(found)
    return found


def kernels(device: str) -> str:
    """Say which kernels train ConvNets here: those the suite compiles for the CPU, or PyTorch's own. They round differently."""
    return "compiled" if device.startswith("cpu") and native.load()[0] is not None else "PyTorch"


def _judge_distilled(payload: Payload, record: Record, dataset: Dataset, store: Store, report: Report) -> None:
    cell = record.cell
    info = store.set_info(payload["distil_key"])
    if info is None:
        raise RejectedSet(f"the set {payload['distil_key']} is not complete")
    # The set may be older than the code of today; the record tells by which code it was made.
    record.cell = replace(cell, code_hash=info.pop("code_hash", cell.code_hash))
    info.pop("environment", None)
    record.distil = info
    judgement = judge_set(
        store.set_folder(payload["distil_key"]),
        dataset,
        _budget(cell, dataset),
        get_protocol(cell.protocol["name"], payload["students"]),
        cell.seed,
        store.prerequisites,
        device=_use(payload["device"]),
        on_progress=lambda done, total: report(done, total, {}),
    )
    record.audit, record.scores, record.training = judgement.audit, judgement.scores, judgement.training
    record.cell.notes = [*cell.notes, *judgement.notes]
    written = write_pictures(judgement.distilled, judgement.space, store.pictures, picture_stem(cell, record.key))
    record.pictures = [f"pictures/{Path(path).name}" for path in written]


def _judge_full_data(payload: Payload, record: Record, dataset: Dataset, store: Store, report: Report) -> None:
    cell = record.cell
    judgement = judge_ceiling(
        dataset,
        get_protocol(cell.protocol["name"], payload["students"]),
        cell.seed,
        store.prerequisites,
        effort=cell.effort,
        device=_use(payload["device"]),
        on_progress=lambda done, total: report(done, total, {}),
    )
    record.audit, record.scores, record.training = judgement.audit, judgement.scores, judgement.training
    record.cell.notes = [*cell.notes, *judgement.notes]


def _open(payload: Payload) -> tuple[Cell, Dataset, Store]:
    """Import the plugins and open the data set, which must be the one that was planned."""
    discover(tuple(payload["plugins"]))
    cell = Cell(**payload["cell"])
    dataset = load_dataset(cell.dataset, cast(SplitName, cell.split), DataOptions(Path(payload["data"]), download=False))
    if dataset.fingerprint() != cell.data_hash:
        raise BenchError(f"the files of data set '{cell.dataset}' changed after the run was planned; start it again")
    return cell, dataset, Store(Path(payload["out"]))


def _budget(cell: Cell, dataset: Dataset) -> Budget:
    spec = dataset.spec
    return BudgetRequest.parse(cell.budget["requested"]).resolve(spec.classes, spec.height, spec.width)


def _validator(payload: Payload, cell: Cell, dataset: Dataset, store: Store) -> Validator | None:
    if dataset.val is None:
        return None
    return Validator(
        cell.dataset,
        cast(SplitName, cell.split),
        DataOptions(Path(payload["data"]), download=False),
        store.prerequisites,
        get_protocol(cell.protocol["name"], payload["students"]),
        cell.seed,
        plugin_files=tuple(payload["plugins"]),
        device=payload["device"],
    )


def _reject_violations(violations: list[str]) -> None:
    if violations:
        raise RejectedSet(f"while it distilled, the method {violations[0]}, which is closed to it")


def _save(distilled: object, folder: Path) -> None:
    if not isinstance(distilled, DistilledSet):
        raise TypeError(f"distill() returned {type(distilled).__name__}; it must return a DistilledSet")
    if problems := distilled.recipe.problems():
        raise RejectedSet(problems[0])
    # Until it is written again, the folder does not count as a complete set.
    (folder / "distil.json").unlink(missing_ok=True)
    try:
        distilled.save(folder)
    except (TypeError, ValueError) as error:
        raise RejectedSet(f"the set cannot be stored: {error}") from error


def _logged(report: Report) -> Callable[[int, int, Mapping[str, float]], None]:
    """Report to the runner, and now and then to the log."""
    last = [0.0]

    def both(step: int, total: int, scalars: Mapping[str, float]) -> None:
        shown = {key: float(value) for key, value in scalars.items()}
        report(step, total, shown)
        now = time.monotonic()
        if now - last[0] >= _LOG_EVERY or step >= total:
            last[0] = now
            values = " ".join(f"{key} {value:.6g}" for key, value in shown.items())
            sys.stdout.write(f"step {step}/{total} {values}".rstrip() + "\n")

    return both


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return f"cuda ({torch.cuda.get_device_name(torch.device(device))})"
    return device


def picture_stem(cell: Cell, key: str) -> str:
    """Return the file name of a cell's pictures, readable and free of brackets."""
    text = f"{cell.dataset}-{cell.label}-{cell.budget['requested']}-seed{cell.seed}"
    return f"{re.sub(r'[^A-Za-z0-9._=-]+', '_', text)[:100]}-{key[:8]}"
