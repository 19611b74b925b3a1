"""The plan of a sweep: every cell with everything resolved, and what earlier runs left of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...data import DataOptions, Dataset
from ...judge.protocol import Protocol
from ...method import Resolution
from ...record import Cell, Record

State = Literal["cached", "pending", "refused", "failed"]


@dataclass
class PlannedCell:
    """One cell of a plan.

    Attributes:
        cell: what is run.
        key: judge key.
        distil_key: key of the distilled set; empty for the full-data line.
        state: ``cached`` (an earlier run's record is kept), ``pending`` (will run), ``refused``, or ``failed`` while
            it was planned.
        reason: a sentence for refusals and failures.
        resolution: what the method decided; ``None`` for the full-data line and where it refused or broke.
        record: what an earlier run left, if anything.
        stale: the record was made by other code of the method.
        redistil: make the set again although it may be there.
    """

    cell: Cell
    key: str
    distil_key: str
    state: State = "pending"
    reason: str = ""
    resolution: Resolution | None = None
    record: Record | None = None
    stale: bool = False
    redistil: bool = False


@dataclass
class Plan:
    """All cells of a run, in order.

    Attributes:
        cells: contestants, references and full-data lines, each key once.
        datasets: facts of the data sets by name.
        protocol: how sets are judged.
        options: where the data sets are.
        left_out: a sentence for whatever an ordinary run has and this one has not.
        built_first: what the cells share that is not there yet, with its room on disk and its time, in a sentence; or empty.
        asked: name of a data set -> how it is asked for; they differ where a parameter is a path.
    """

    cells: list[PlannedCell]
    datasets: dict[str, Dataset]
    protocol: Protocol
    options: DataOptions
    left_out: tuple[str, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    built_first: str = ""

    def pending(self) -> list[PlannedCell]:
        """Return the cells that need a process."""
        return [planned for planned in self.cells if planned.state == "pending"]
