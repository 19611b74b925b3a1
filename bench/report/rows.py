"""One row of a table: all seeds of one method variant at one budget."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..record import Kind, Record, mean
from .statistics import t_half_width

#: The status of a row without any score is that of its worst record, in this order.
_WORST_FIRST = ("failed", "oom", "timeout", "rejected", "interrupted", "refused", "ok")

_WIDTH = re.compile(r"(?P<arch>.+)-w(?P<width>\d+)")


@dataclass(frozen=True)
class MeanAccuracy:
    """A mean accuracy with its 95 % interval.

    Attributes:
        mean: fraction in [0, 1].
        half_width: half the interval, or ``None`` where one single number is all there is.
        n_distil: distillation seeds behind it.
        n_students: students of each distilled set, or ``None`` if that differs between seeds.
    """

    mean: float
    half_width: float | None
    n_distil: int
    n_students: int | None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval, cut to [0, 1]."""
        if self.half_width is None:
            return None
        return max(0.0, self.mean - self.half_width), min(1.0, self.mean + self.half_width)


@dataclass(frozen=True, eq=False)
class Row:
    """All records of one method variant x data set x budget x protocol x split x effort. Compared by identity.

    Attributes:
        kind: ``contestant``, ``reference`` or ``full_data``.
        method: registered name.
        variant: bracketed parameters, without brackets, or empty.
        records: one per distillation seed, in the order of seeds.
        stale: some record was made by other code of the method than its newest record.
        same_as: label of the row whose very cell this is, where other parameters resolve to the same; never counted twice.
    """

    kind: Kind
    method: str
    variant: str
    records: tuple[Record, ...]
    stale: bool = False
    same_as: str = ""

    @property
    def label(self) -> str:
        """The method as it is typed."""
        return f"{self.method}[{self.variant}]" if self.variant else self.method

    @property
    def identity(self) -> str:
        """Names the cells behind the row; rows with equal identities are one and the same."""
        return self.records[0].key

    @property
    def effort(self) -> float:
        """Fraction of the recipe's outer steps that were taken."""
        return self.records[0].cell.effort

    @property
    def budget_px(self) -> int | None:
        """Granted pixels, or ``None`` for the full data."""
        pixels = finite(self.records[0].cell.budget.get("pixels"))
        return None if pixels is None else int(pixels)

    @property
    def budget_ipc(self) -> float | None:
        """Granted images per class."""
        return finite(self.records[0].cell.budget.get("ipc"))

    @cached_property
    def scored(self) -> tuple[Record, ...]:
        """The records that hold a score."""
        return tuple(record for record in self.records if has_score(record))

    @property
    def complete(self) -> bool:
        """Whether every seed that was tried has a score."""
        return len(self.scored) == len(self.records)

    @property
    def status(self) -> str:
        """``ok`` where any seed has a score, else the worst status of the records."""
        if self.scored:
            return "ok"
        return min((shown_status(record) for record in self.records), key=_WORST_FIRST.index)

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Seed -> final test accuracy, averaged over students."""
        return {record.cell.seed: mean(record.scores["final"]["test"]) for record in self.scored}

    @cached_property
    def final(self) -> MeanAccuracy | None:
        """The accuracy on which tables rank."""
        return self.estimate("final", "test")

    def estimate(self, *path: str) -> MeanAccuracy | None:
        """Summarise the list of single accuracies at ``path`` of the scores, e.g. ``("final_8bit", "test")``.

        With one seed the interval is that over its students, which leaves out the spread between distillations; such
        rows are marked wherever they are shown. A score that any seed lacks is absent.
        """
        students = [accuracies(record, *path) for record in self.scored]
        if not students or not all(students):
            return None
        counts = {len(values) for values in students}
        means = [mean(values) for values in students]
        return MeanAccuracy(
            mean=mean(means),
            half_width=t_half_width(means if len(means) > 1 else students[0]),
            n_distil=len(means),
            n_students=counts.pop() if len(counts) == 1 else None,
        )

    def average(self, read: Callable[[Record], Any]) -> float | None:
        """Average a number over the scored seeds (over all seeds where none has a score), or ``None`` if it is absent.

        Args:
            read: takes the number out of a record; anything that is not a finite number counts as absent.
        """
        found = [finite(read(record)) for record in self.scored or self.records]
        values = [value for value in found if value is not None]
        return mean(values) if values and len(values) == len(found) else None

    def audited(self, name: str) -> float | None:
        """Average a count of the audit: ``pixels``, ``label_numbers``, ``bytes``, ..."""
        return self.average(lambda record: record.audit.get(name))

    @property
    def unused_px(self) -> float | None:
        """Granted pixels that the stored form leaves unused, or ``None`` where that is less than one."""
        used = self.audited("pixels")
        unused = None if used is None or self.budget_px is None else self.budget_px - used
        return unused if unused is not None and unused >= 1 else None

    @property
    def network(self) -> str:
        """The student network, or several names where seeds differ."""
        return ", ".join(sorted({name for record in self.records if (name := network_of(record))}))

    @property
    def arch_and_width(self) -> tuple[str, str]:
        """The network as architecture and width: ``convnet-d3-w128`` gives ``("convnet-d3", "128")``."""
        match = _WIDTH.fullmatch(self.network)
        return (match["arch"], match["width"]) if match else (self.network, "")

    @property
    def tuned(self) -> bool:
        """Whether every seed has a matching recipe rule."""
        return all(record.cell.tuned for record in self.records)

    @property
    def adapted(self) -> str:
        """How a whole-image method coped below one image per class, or empty."""
        return ", ".join(sorted({record.cell.adapted for record in self.records if record.cell.adapted}))

    @property
    def external(self) -> str:
        """What was used from outside the training data, or empty."""
        return ", ".join(sorted({record.cell.external for record in self.records if record.cell.external}))

    @property
    def unofficial(self) -> bool:
        """Whether any record was made on an unofficial copy of the data set."""
        return any(record.cell.unofficial for record in self.records)

    @property
    def notes(self) -> tuple[str, ...]:
        """The records' sentences for the reader, each once."""
        return tuple(sorted({note for record in self.records for note in record.cell.notes}))


def network_of(record: Record) -> str:
    """Return the student network that was planned or, where none was, the one that was trained; empty if neither is known."""
    return record.cell.network or str(record.training.get("network") or "")


def has_score(record: Record) -> bool:
    """Tell whether a record is ok and really holds final test accuracies."""
    return record.status == "ok" and bool(accuracies(record, "final", "test"))


def shown_status(record: Record) -> str:
    """Return a record's status, or ``failed`` for one that claims to be ok without a score."""
    return "failed" if record.status == "ok" and not has_score(record) else record.status


def accuracies(record: Record, *path: str) -> list[float]:
    """Return the single accuracies at ``path`` of a record's scores; empty if they are absent or not finite numbers."""
    found: Any = record.scores
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    values = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    numbers = [finite(value) for value in values]
    return [] if None in numbers else [number for number in numbers if number is not None]


def finite(value: Any) -> float | None:
    """Return a finite number as it is, and ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
