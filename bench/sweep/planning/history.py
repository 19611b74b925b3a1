"""What earlier runs left of the cells of a plan, and which cells therefore run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...record import Cell, Record
from ..store import Store
from .plan import Plan
from .same_cell import absorb, computed_otherwise

#: Statuses that are final until a run is told otherwise; ``interrupted`` cells and lifted refusals run again without being told.
_LASTING = ("ok", "rejected", "failed", "timeout", "oom")


def _how(made: Cell, asked: Cell) -> str:
    """Return a sentence if a cell is there, but was asked to be computed otherwise than it was."""
    if names := computed_otherwise(made, asked):
        return f"kept as it was computed, with another choice of {names}; --force {asked.method} computes it anew"
    return ""


def attach(plan: Plan, store: Store, records: Mapping[str, Record], rerun: Sequence[str], force: Sequence[str]) -> list[Record]:
    """Look up what earlier runs left of every cell, and decide which cells run.

    Args:
        plan: its cells are updated.
        store: where sets lie.
        records: all records by key.
        rerun: statuses (or ``stale``) whose cells run again.
        force: methods whose cells run again from their distillation.

    Returns:
        Records on which a new name of their cell was noted; they are to be written again.
    """
    changed = []
    for planned in plan.cells:
        record = planned.record = records.get(planned.key)
        forced = planned.cell.method in force
        info = store.set_info(planned.distil_key) if planned.distil_key else None
        # The code that made the set counts, also where this protocol has not judged it yet; and that of the record, whose
        # set may be a newer one.
        today = {None, planned.cell.code_hash}
        old_set = info is not None and info.get("code_hash") not in today
        old_record = record is not None and record.cell.code_hash not in today
        planned.stale = old_set or old_record
        planned.redistil = forced or ("stale" in rerun and (old_set or (old_record and info is None)))
        if record is None:
            continue
        if absorb(record.cell, planned.cell):
            changed.append(record)
        absorb(planned.cell, record.cell)  # a cell that runs again keeps all its names
        stands = record.status in _LASTING if planned.state == "pending" else record.status == "ok"
        # What went wrong may have gone wrong because of the damage, and the set is made again anyway.
        stands = stands and not (record.status in ("failed", "rejected") and store.set_damage(planned.distil_key))
        anew = planned.redistil or (planned.stale and "stale" in rerun)
        if stands and not anew and record.status not in rerun:
            planned.state, planned.reason = "cached", record.reason or _how(record.cell, planned.cell)
    return changed


def damaged_sets(plan: Plan, store: Store) -> list[str]:
    """Return a warning for every set of a plan that is on disk and no longer what was made."""
    found = {}
    for key in sorted({planned.distil_key for planned in plan.cells if planned.distil_key}):
        if damage := store.set_damage(key):
            found[key] = f"set {store.set_folder(key)} is damaged ({damage}); it is not used, and made again where a cell needs it"
    return list(found.values())
