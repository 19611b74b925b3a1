"""Cells that several names come to: planned once, with all their names."""

from __future__ import annotations

from dataclasses import asdict

from ...errors import BenchError
from ...record import Cell
from .plan import PlannedCell


def merge(planned: dict[str, PlannedCell], new: PlannedCell) -> None:
    """Add a cell, or note its name on the cell that it equals.

    Raises:
        BenchError: the two ask for different ways of computing the same cell.
    """
    if new.key not in planned:
        planned[new.key] = new
        return
    cell = planned[new.key].cell
    if new.state != "refused" and (differing := computed_otherwise(cell, new.cell)):
        raise BenchError(
            f"'{cell.label}' and '{new.cell.label}' are one cell, as {differing} chooses how it is computed and is not part of its key; "
            "ask for one of them, or for each in a folder of its own with --out"
        )
    absorb(cell, new.cell)


def computed_otherwise(cell: Cell, other: Cell) -> str:
    """Return the names of the unkeyed fields in which two equal cells differ, or an empty string.

    A field that one of them does not have came later than its record.
    """
    shared = [name for name in cell.unkeyed if name in cell.fields and name in other.fields]
    return ", ".join(name for name in shared if cell.fields[name] != other.fields[name])


def absorb(cell: Cell, other: Cell) -> bool:
    """Note on ``cell`` the names of an equal one; a reference form stays one whoever else asks for it.

    Returns:
        Whether anything was new.
    """
    before = asdict(cell)
    names = {cell.label, *cell.aliases, other.label, *other.aliases}
    if other.kind == "reference" and cell.kind != "reference":
        cell.kind, cell.method, cell.variant = "reference", other.method, other.variant
    cell.aliases = sorted(names - {cell.label})
    return asdict(cell) != before
