"""Rows of the tables: all seeds of one method variant at one budget, in numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import pandas

from ..record import mean
from .frame import NUMBERS
from .statistics import t_half_width, t_interval

#: The status of a row without any score is that of its worst record, in this order.
_WORST_FIRST = ("failed", "oom", "timeout", "rejected", "interrupted", "refused")

_WIDTH = re.compile(r"(?P<arch>.+)-w(?P<width>\d+)")


def row_frame(records: pandas.DataFrame) -> pandas.DataFrame:
    """Return a row per method variant x budget x effort of the records of one section.

    Columns beside those of the CSV: ``cells`` (a tuple per record, by seed), ``by_seed`` (seed -> accuracy), ``values`` (the
    independent accuracies: one per distilled set), ``half_width`` of their interval, ``n_seeds``, ``same_set``.
    """
    newest = records.sort_values(["started", "key"]).drop_duplicates(["cell", "seed"], keep="last").sort_values(["cell", "seed"])
    rows = [_row(list(cells)) for _, cells in groupby(newest.itertuples(), lambda cell: cell.cell)]
    frame = pandas.DataFrame(rows, dtype=object)
    numbers = [name for name, value in rows[0].items() if isinstance(value, (int, float)) and not isinstance(value, bool)]
    frame[numbers] = frame[numbers].apply(pandas.to_numeric)
    return frame


def _row(cells: Sequence[Any]) -> dict[str, Any]:
    """Summarise the records of one row, one per seed."""
    scored = [cell for cell in cells if cell.n_students]
    counted = scored or cells
    full_data = cells[0].kind == "full_data"
    # Averaged over the seeds with a score (over all where none has one); absent where any of them lacks it.
    numbers = {name: mean([getattr(cell, name) for cell in counted]) for name in NUMBERS}
    network = joined(cell.network for cell in cells)
    match = _WIDTH.fullmatch(network)
    budget_px = math.nan if full_data else cells[0].budget_px
    unused = budget_px - numbers["used_px"]
    return {
        **numbers,
        "unused_px": unused if unused >= 1 else math.nan,
        **_spread(scored),
        # What anybody ran as a reference is one for all.
        "kind": "reference" if any(cell.kind == "reference" for cell in cells) else cells[0].kind,
        "method": cells[0].method,
        "variant": min((cell.variant for cell in cells), key=lambda text: (len(text), text)),
        "same_as": "",
        "names": sorted({name for cell in cells for name in cell.names}),
        "budget_ipc": math.nan if full_data else cells[0].budget_ipc,
        "budget_px": budget_px,
        "effort": cells[0].effort,
        "status": _status(cells, scored),
        "arch": match["arch"] if match else network,
        "width": match["width"] if match else "",
        "network": network,
        "tuned": full_data or all(cell.tuned for cell in cells),
        "adapted": joined(cell.adapted for cell in cells),
        "external": joined(cell.external for cell in cells),
        "unofficial": any(cell.unofficial for cell in cells),
        "seen_val": any(cell.seen_val for cell in cells),
        "timed_out": any(cell.status == "timeout" for cell in scored),
        "stale": any(cell.stale for cell in cells),
        "record_notes": sorted({note for cell in cells for note in cell.notes}),
        "all_published": cells[0].published,
        "newest": max((cell.started, cell.key) for cell in cells),
        "cells": cells,
    }


def _spread(scored: Sequence[Any]) -> dict[str, Any]:
    """Say how many independent results there are, and how far apart they lie.

    Where all seeds came to the same bytes, one set was judged several times: one value, that has no spread between sets.
    """
    means = [cell.accuracy for cell in scored]
    same_set = len(scored) > 1 and scored[0].tensors is not None and len({cell.tensors for cell in scored}) == 1
    values = [mean(means)] if same_set else means
    students = [cell.n_students for cell in scored]
    low, high = t_interval(values)
    return {
        "by_seed": {cell.seed: cell.accuracy for cell in scored},
        "values": values,
        "half_width": t_half_width(values),
        "accuracy_lo": low,
        "accuracy_hi": high,
        "n_distill": len(values) or math.nan,
        "n_students": sum(students) if same_set else students[0] if len(set(students)) == 1 else math.nan,
        "n_scored": len(scored),
        "same_set": same_set,
    }


def _status(cells: Sequence[Any], scored: Sequence[Any]) -> str:
    """Return ``ok``, ``partial`` where some seed has no score, ``timeout`` where some set is not a whole one, or the worst status."""
    if scored and len(scored) < len(cells):
        return "partial"
    if scored:
        return "timeout" if any(cell.status == "timeout" for cell in scored) else "ok"
    return min((str(cell.status) for cell in cells), key=_WORST_FIRST.index)


def joined(words: Iterable[str]) -> str:
    """Join different words, in order, leaving out empty ones."""
    return ", ".join(sorted({word for word in words if word}))
