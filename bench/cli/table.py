"""The plan as a table: what is cached, pending, refused or stale, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from ..sweep.planning.estimate import Estimate, readable
from ..sweep.planning.plan import PlannedCell

Estimates = Mapping[str, Estimate]


def full_table(cells: Sequence[PlannedCell], estimates: Estimates) -> str:
    """Return one line per cell, with its keys."""
    rows = [
        (
            p.key[:12],
            p.distil_key[:12] or "-",
            p.cell.label,
            p.cell.dataset,
            _budget(p),
            p.cell.seed,
            state(p),
            _time([p], estimates),
            p.reason,
        )
        for p in cells
    ]
    headers = ("cell", "set", "method", "data set", "budget", "seed", "state", "time", "reason")
    return tabulate(rows, headers, tablefmt="plain", disable_numparse=True)


def short_table(cells: Sequence[PlannedCell], estimates: Estimates) -> str:
    """Return one line per method, data set and budget, its seeds taken together."""
    groups: dict[tuple[str, str, str], list[PlannedCell]] = {}
    for planned in cells:
        groups.setdefault((planned.cell.label, planned.cell.dataset, _budget(planned)), []).append(planned)
    rows = []
    for name, group in groups.items():
        states = Counter(state(planned) for planned in group)
        rows.append((*name, ", ".join(f"{count} {what}" for what, count in states.items()), _time(group, estimates), group[0].reason))
    return tabulate(rows, ("method", "data set", "budget", "seeds", "time", "reason"), tablefmt="plain", disable_numparse=True)


def counts(cells: Sequence[PlannedCell]) -> str:
    """Return the plan in one line: ``plan: 60 cells, 36 pending, 22 cached, 2 refused``."""
    states = Counter(planned.state for planned in cells)
    parts = [f"{states[name]} {name}" for name in ("pending", "cached", "refused", "failed") if states[name]]
    stale = sum(planned.stale for planned in cells)
    if stale:
        parts.append(f"{stale} stale (made by other code of the method; --rerun stale makes them again)")
    number = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return f"plan: {number}, {', '.join(parts)}"


def state(planned: PlannedCell) -> str:
    """Return a cell's state in a word or two: ``pending``, ``cached``, ``cached failed``, ``stale``, ``refused``."""
    if planned.state != "cached":
        return planned.state
    status = planned.record.status if planned.record else "ok"
    words = ["stale" if planned.stale else "cached", "" if status == "ok" else status]
    return " ".join(filter(None, words))


def _budget(planned: PlannedCell) -> str:
    budget = planned.cell.budget
    return f"{budget['requested']} ({budget['pixels']} px)"


def _time(cells: Iterable[PlannedCell], estimates: Estimates) -> str:
    """Return the estimated time of one core for some cells, or a question mark where nothing is known."""
    found = [estimates[planned.key] for planned in cells if planned.key in estimates]
    if not found:
        return ""
    return "?" if all(estimate.source == "unknown" for estimate in found) else readable(sum(estimate.seconds for estimate in found))
