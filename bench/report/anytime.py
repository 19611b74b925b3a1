"""How good sets were on the way: the points of the curves that records hold, and methods whose loss fell for nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas

from ..record import mean
from .numbers import budget_name, duration, percent, plain
from .sections import Section

#: Standard errors of a val accuracy within which it is that of guessing, and the share by which a loss has fallen.
_ERRORS, _FALLEN = 2.0, 0.1


def has_curves(section: Section) -> bool:
    """Tell whether any record of a section holds a curve."""
    return any(_with_curve(row) for row in section.table_rows)


def _with_curve(row: Any) -> list[Any]:
    """Return the records of a row that hold a curve."""
    return [cell for cell in row.cells if cell.curve]


def curve_frame(section: Section) -> pandas.DataFrame:
    """Return the points of all curves, a row per point and seed.

    Columns: ``label``, ``name`` (with an effort that is not 1), ``effort``, ``kind``, ``budget_px``, ``budget_ipc``, ``horizon``,
    ``schedule``, ``chance``, ``students``, ``step``, ``seed``, ``percent`` (val accuracy) and ``seconds`` (the mean over the
    seeds, prerequisites included). A step that some seed of its row has no point for is left out: means over other seeds
    are no points of one curve.
    """
    found = pandas.DataFrame([point for row in section.table_rows for point in _points(row)])
    seeds = found.groupby(["name", "budget_px"]).seed.transform("nunique")
    by_step = found.groupby(["name", "budget_px", "step"])
    found["seconds"] = by_step.seconds.transform("mean")
    return found[by_step.seed.transform("nunique") == seeds].reset_index(drop=True)


def _points(row: Any) -> Iterator[dict[str, Any]]:
    name = row.label + ("" if row.effort == 1 else f" (effort {plain(row.effort)})")
    shared = {"label": row.label, "name": name, "effort": row.effort, "kind": row.kind, "budget_px": row.budget_px}
    for cell in _with_curve(row):
        curve = {key: cell.curve[key] for key in ("horizon", "schedule", "chance")}
        for point in cell.curve["points"]:
            yield {
                **shared,
                **curve,
                "budget_ipc": row.budget_ipc,
                "students": len(point["val"]),
                "step": point["step"],
                "seed": cell.seed,
                "percent": 100 * mean(point["val"]),
                # A log axis has no zero.
                "seconds": max(cell.prerequisite_seconds + point["seconds"], 1e-3),
            }


def curve_values(row: Any) -> dict[str, str]:
    """Return what a table says of the curves of a row; nothing where it has none."""
    cells = _with_curve(row)
    if not cells:
        return {}
    curves = [cell.curve for cell in cells]
    return {
        "horizon": _joined(f"{curve['horizon']:,}" for curve in curves),
        "schedule": _joined(curve["schedule"] for curve in curves),
        "first": _mean_at(cells, lambda points: points[0]),
        "middle": _mean_at(cells, lambda points: points[len(points) // 2]),
        "last": _mean_at(cells, lambda points: points[-1]),
        "took": duration(mean([curve["seconds"] for curve in curves])),
    }


def _joined(words: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word))


def _mean_at(cells: Sequence[Any], pick: Any) -> str:
    """Write the mean val accuracy at a point of every curve, and the mean time."""
    points = [pick(cell.curve["points"]) for cell in cells]
    seconds = mean([cell.prerequisite_seconds + point["seconds"] for cell, point in zip(cells, points, strict=True)])
    return f"{percent(mean([mean(point['val']) for point in points]))} ({duration(seconds)})"


def learned_nothing(section: Section) -> list[str]:
    """Name the rows whose loss fell by more than a tenth while val accuracy stayed where guessing is, at every point of every seed's mean.

    Guessing is whatever lies at most two standard errors above the accuracy of always saying the largest class.
    """
    return [sentence for row in section.table_rows if (sentence := _nothing_learned(row))]


def _nothing_learned(row: Any) -> str:
    cells = [cell for cell in _with_curve(row) if len(cell.curve["points"]) > 1]
    losses = [[point["loss"] for point in cell.curve["points"] if "loss" in point] for cell in cells]
    if not cells or not all(len(one) > 1 for one in losses):
        return ""
    first, last = mean([one[0] for one in losses]), mean([one[-1] for one in losses])
    best = max(mean(point["val"]) for cell in cells for point in cell.curve["points"])
    chance, n_val = max(cell.curve["chance"] for cell in cells), min(cell.n_val or 1 for cell in cells)
    if last >= first - _FALLEN * abs(first) or best > chance + _ERRORS * math.sqrt(chance * (1 - chance) / n_val):
        return ""
    at, fell = budget_name(row.budget_px, row.budget_ipc), f"from {plain(first)} to {plain(last)}"
    stayed = f"at most {percent(best)} %, guessing reaches {percent(chance)} %"
    return f"{row.label} at {at}: its loss fell {fell} while val accuracy stayed at chance ({stayed})"
