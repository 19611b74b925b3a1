"""Synthetic records with numbers that anybody can work out by hand."""

from __future__ import annotations

from typing import Any

from bench.keys import digest
from bench.record import Cell, Record
from bench.report.sections import Section, build_sections

PIXELS_PER_IPC = 640  # digits: 10 classes of 8x8


def protocol(name: str = "native-v1", **choices: Any) -> dict[str, Any]:
    choices = {"students": 2, **choices}
    return {"name": name, "hash": digest([name, choices]), **choices}


def make_cell(method: str = "podd", ipc: float = 1.0, seed: int = 0, **changes: Any) -> Cell:
    values: dict[str, Any] = {
        "kind": "contestant",
        "dataset": "digits",
        "data_hash": "d1",
        "split": "dev",
        "method": method,
        "variant": "",
        "method_version": 1,
        "fields": {"window": 20, "images": changes.get("variant", "").removeprefix("images=")},
        "budget": {"requested": f"{ipc:g}", "pixels": int(ipc * PIXELS_PER_IPC), "ipc": ipc},
        "seed": seed,
        "effort": 1.0,
        "protocol": protocol(),
        "code_hash": "c1",
        "tuned": True,
        "tuning_trials": 12,
        "sources": ["tuned on val"],
        "outer_steps": 100,
    }
    return Cell(**{**values, **changes})


def make_record(
    accuracy: float | list[float] = 0.5, *, status: Any = "ok", reason: str = "", cell: Cell | None = None, **changes: Any
) -> Record:
    """Make a record; a single accuracy stands for two students, one a point below it and one a point above."""
    cell = cell or make_cell()
    made_of = [cell.dataset, cell.method, cell.fields, cell.method_version, cell.data_hash, cell.split, cell.budget]
    key = digest([*made_of, cell.seed, cell.effort, cell.protocol, cell.network])
    test = accuracy if isinstance(accuracy, list) else [accuracy - 0.01, accuracy + 0.01]
    done = status == "ok"
    used = cell.budget["pixels"] - 4
    values: dict[str, Any] = {
        "audit": {
            "pixels": used,
            "effective_ipc": (used) / PIXELS_PER_IPC,
            "image_numbers": used,
            "label_numbers": 100,
            "charged_labels": 0,
            "px_with_labels": used + 100,
            "other_numbers": 0,
            "recipe_scalars": 4,
            "bytes": 4096,
            "images": 10,
        },
        "scores": {
            "n_test": 400,
            "n_val": 200,
            "final": {"step": 100, "test": test, "val": [max(0.0, a - 0.02) for a in test]},
            "checkpoints": [{"step": 100, "test": test, "val": [max(0.0, a - 0.02) for a in test]}],
            "val_selected": None,
            "test_best": {"step": 50, "test": [min(1.0, a + 0.03) for a in test]},
            "final_8bit": {"test": [max(0.0, a - 0.005) for a in test]},
            "lr": None,
            "lr_trials": [],
        },
        "training": {"network": "convnet-d2-w32", "presented_examples": 25600, "student_steps": 100, "flops": 1e9},
        "distil": {"seconds": 90.0, "outer_steps": 100, "validate_calls": 0, "peak_memory_mb": 300.0},
        "seconds": {"distil": 0.0, "judge": 5.0},
        "environment": {"torch": "2.14.0", "device": "cpu", "threads": 1},
        "started": f"2026-01-01T00:00:{cell.seed:02d}Z",
        "log": f"logs/{key}.log",
    }
    if not done:
        values |= {"audit": {}, "scores": {}, "training": {}, "distil": {}}
    return Record(**{"key": key, "distil_key": key[::-1], "status": status, "reason": reason, "cell": cell, **values, **changes})


def seeds(accuracies: list[float], method: str = "podd", ipc: float = 1.0, **changes: Any) -> list[Record]:
    """Make one record per accuracy, with seeds 0, 1, 2, ..."""
    return [make_record(accuracy, cell=make_cell(method, ipc, seed, **changes)) for seed, accuracy in enumerate(accuracies)]


def reference(form: str, accuracies: list[float], ipc: float = 1.0, **changes: Any) -> list[Record]:
    return seeds(accuracies, "random", ipc, **{"kind": "reference", "variant": f"images={form}", **changes})


def full_data(accuracy: float = 0.97, **changes: Any) -> Record:
    budget = {"requested": "full", "pixels": 51200, "ipc": 80.0}
    return make_record(
        accuracy, cell=make_cell("full-data", **{"kind": "full_data", "budget": budget, "tuned": False, **changes}), audit={}
    )


def with_tensors(records: list[Record], *hashes: str) -> list[Record]:
    """Say of each record which bytes its set came to."""
    for record, found in zip(records, hashes, strict=True):
        record.distil["files"] = {"tensors.safetensors": {"bytes": 4096, "sha256": found}}
    return records


def only(records: list[Record], **given: Any) -> Section:
    (section,) = build_sections(records, **given)
    return section


def row_of(records: list[Record], **given: Any) -> Any:
    (row,) = only(records, **given).everything
    return row
