"""Records as one tidy pandas frame: a row per student's score, and a row per record without one. Everything else is made from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

import pandas

from ..keys import canonical_json
from ..record import Record, mean

#: Counts of the audit that keep their names.
AUDITED = ("effective_ipc", "image_numbers", "label_numbers", "charged_labels", "other_numbers", "bytes", "px_with_labels")

#: Columns that all students of a record share, and where a record has them. ``load_records`` shows those up to ``distil_key``.
CELL: dict[str, Callable[[Record], Any]] = {
    "dataset": lambda r: r.cell.dataset,
    "split": lambda r: r.cell.split,
    "protocol": lambda r: str(r.cell.protocol.get("name", "")),
    "kind": lambda r: r.cell.kind,
    "method": lambda r: r.cell.method,
    "variant": lambda r: r.cell.variant,
    "budget": lambda r: r.cell.budget.get("requested"),
    "budget_ipc": lambda r: finite(r.cell.budget.get("ipc")),
    "budget_px": lambda r: finite(r.cell.budget.get("pixels")),
    "used_px": lambda r: finite(r.audit.get("pixels")),
    "seed": lambda r: r.cell.seed,
    "status": lambda r: "failed" if r.status == "ok" and not has_score(r) else r.status,
    "reason": lambda r: r.reason or ("the record holds no score" if r.status == "ok" and not has_score(r) else ""),
    "n_students": lambda r: len(accuracies(r, "final", "test")) if has_score(r) else 0,
    "network": lambda r: r.cell.network or str(r.training.get("network") or ""),
    "effort": lambda r: r.cell.effort,
    "outer_steps": lambda r: finite(r.distil.get("outer_steps", r.cell.outer_steps)),
    "adapted": lambda r: r.cell.adapted,
    "external": lambda r: r.cell.external,
    # Nobody can look up a recipe that does not say where its values come from.
    "tuned": lambda r: bool(r.cell.tuned and any(r.cell.sources)),
    "distill_seconds": lambda r: finite(r.distil.get("seconds")),
    "judge_seconds": lambda r: finite(r.seconds.get("judge")),
    "device": lambda r: r.environment.get("device"),
    "started": lambda r: r.started,
    "key": lambda r: r.key,
    "distil_key": lambda r: r.distil_key,
    "curve": lambda r: r.distil.get("curve"),
    "prerequisite_seconds": lambda r: math.fsum(one["seconds"] for one in r.distil.get("prerequisites", ())),
    "protocol_hash": lambda r: str(r.cell.protocol.get("hash", "")),
    "data_hash": lambda r: r.cell.data_hash,
    # What makes records differ only by seed. The typed variant is no part of it: several may mean the same.
    "cell": lambda r: canonical_json([r.cell.method, r.cell.budget.get("pixels"), r.cell.effort, settings(r)]),
    "settings": lambda r: settings(r),
    "names": lambda r: (r.cell.label, *r.cell.aliases),
    "tuning_trials": lambda r: finite(r.cell.tuning_trials),
    "unofficial": lambda r: r.cell.unofficial,
    # Whoever made a set elsewhere had all images, those that are val in split dev among them.
    "seen_val": lambda r: bool(r.cell.origin) and r.cell.split == "dev",
    "notes": lambda r: tuple(r.cell.notes),
    "published": lambda r: tuple(r.cell.published),
    "tensors": lambda r: _at(r.distil, "files", "tensors.safetensors", "sha256"),
    "environment": lambda r: r.environment,
    "log": lambda r: r.log,
    "pictures": lambda r: tuple(r.pictures),
    "n_test": lambda r: finite(r.scores.get("n_test")),
    "n_val": lambda r: finite(r.scores.get("n_val")),
    "presented_examples": lambda r: finite(r.training.get("presented_examples")),
    **{
        name: lambda r, name=name: finite(r.audit.get(name))  # type: ignore[misc]
        for name in AUDITED
    },
}

#: Scores of one student, and where a record has the list of them.
SCORES = {
    "accuracy": ("final", "test"),
    "val_accuracy": ("final", "val"),
    "accuracy_8bit": ("final_8bit", "test"),
    "accuracy_val_selected": ("val_selected", "test"),
    "accuracy_test_best": ("test_best", "test"),
}

#: Columns of numbers, in which what is absent is NaN.
NUMBERS = [
    "budget_ipc", "budget_px", "used_px", "outer_steps", "distill_seconds", "judge_seconds", "tuning_trials", "n_test",
    "presented_examples", *AUDITED, *SCORES,
]  # fmt: skip


def score_frame(records: Iterable[Record]) -> pandas.DataFrame:
    """Return the tidy frame, oldest records first: the columns of ``CELL``, ``student`` and ``SCORES``, accuracies as fractions."""
    rows = []
    for record in {record.key: record for record in sorted(records, key=lambda r: (r.started, r.key))}.values():
        cell = {name: read(record) for name, read in CELL.items()}
        lists = [accuracies(record, *path) for path in SCORES.values()] if has_score(record) else [[None]]
        for student, scores in enumerate(zip_longest(*lists)):
            rows.append({**cell, "student": student, **dict(zip(SCORES, scores, strict=False))})
    # As objects, because columns of pandas' own strings are slow to read one by one.
    frame = pandas.DataFrame(rows, columns=[*CELL, "student", *SCORES], dtype=object)
    frame[NUMBERS] = frame[NUMBERS].apply(pandas.to_numeric)
    return frame


def record_frame(scores: pandas.DataFrame) -> pandas.DataFrame:
    """Return a row per record, in the order of their keys: students are averaged, as they share one distilled set."""
    means = scores.groupby("key")[list(SCORES)].agg(list).map(mean)
    records = scores.drop(columns=["student", *SCORES]).drop_duplicates("key").sort_values("key", ignore_index=True)
    return records.join(means, on="key")


def settings(record: Record) -> dict[str, Any]:
    """Return the hyper-parameters that make a record's set what it is, with the version of its method.

    A field that came later and is not keyed would part records from before it from those after it.
    """
    keyed = {name: value for name, value in record.cell.fields.items() if name not in record.cell.unkeyed}
    return {**keyed, "method_version": record.cell.method_version}


def has_score(record: Record) -> bool:
    """Tell whether a record is ok, or of a set that was there when the time ran out, and really holds final test accuracies."""
    return record.status in ("ok", "timeout") and bool(accuracies(record, "final", "test"))


def accuracies(record: Record, *path: str) -> list[float]:
    """Return the single accuracies at ``path`` of a record's scores; empty if they are absent or not finite numbers."""
    found = _at(record.scores, *path)
    values = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    numbers = [finite(value) for value in values]
    return [] if None in numbers else [number for number in numbers if number is not None]


def _at(found: Any, *path: str) -> Any:
    """Return what lies at a path of nested JSON, or ``None``."""
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def finite(value: Any) -> float | None:
    """Return a finite number as it is, and ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
