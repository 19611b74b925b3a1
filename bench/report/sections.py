"""Records -> sections: what may be compared with what, and nothing else side by side."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..keys import canonical_json
from ..record import Kind, Record
from .rows import Row, has_score, network_of


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a table: a method variant at one effort, with its rows by budget in pixels."""

    rows: Mapping[int, Row]

    @property
    def first(self) -> Row:
        """Any row of the line, for what they share: kind, label and effort."""
        return self.rows[min(self.rows)]

    @property
    def label(self) -> str:
        """The method as it is typed."""
        return self.first.label

    @property
    def is_copy(self) -> bool:
        """Whether every row of the line is the very cell of some other row."""
        return all(row.same_as for row in self.rows.values())


@dataclass(frozen=True, eq=False)
class Section:
    """Everything on one data set (the same bytes of it), one split, one protocol (all its choices equal) and one network.

    Attributes:
        dataset: registered name.
        split: ``dev`` or ``paper``.
        protocol: its name.
        distinction: what tells this section from others of the same names, e.g. the protocol's hash, or empty.
        lines: contestants, then references, best first.
        full_data: students trained on the full data, if they were run.
        network: the student network of every row, or empty where no record names one.
        usual: whether this is the network of most records, so that neither title nor files need to name it.
    """

    dataset: str
    split: str
    protocol: str
    distinction: str
    lines: tuple[Line, ...]
    full_data: Row | None
    network: str = ""
    usual: bool = True

    @property
    def unusual_network(self) -> str:
        """The student network where it is not the usual one, else empty."""
        return "" if self.usual else self.network or "network not recorded"

    @property
    def title(self) -> str:
        """Data set, protocol, split and an unusual network in a few words."""
        parts = (self.dataset, self.protocol, f"split {self.split}", self.distinction, self.unusual_network)
        return " · ".join(part for part in parts if part)

    @property
    def slug(self) -> str:
        """A name for files: ``<dataset>-<protocol>``, longer where split or network are not the usual ones or names clash."""
        parts = [self.dataset, self.protocol, "" if self.split == "dev" else self.split, self.distinction, self.unusual_network]
        return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(part for part in parts if part))

    @cached_property
    def budgets(self) -> tuple[int, ...]:
        """Granted pixels of the columns, ascending."""
        return tuple(sorted({px for line in self.lines for px in line.rows}))

    def at(self, budget_px: int) -> list[Row]:
        """Return the rows of one column, in the order of the lines."""
        return [line.rows[budget_px] for line in self.lines if budget_px in line.rows]

    def rows(self) -> list[Row]:
        """Return all rows, by budget and then in the order of the lines."""
        return [row for px in self.budgets for row in self.at(px)]

    def contestants(self) -> list[Line]:
        """Return the lines of the contestants."""
        return [line for line in self.lines if line.first.kind == "contestant"]

    def references(self) -> list[Line]:
        """Return the lines of the equal-pixel forms of random selection."""
        return [line for line in self.lines if line.first.kind == "reference"]

    def strongest_reference(self, budget_px: int) -> Row | None:
        """Return the reference with the highest accuracy at equal granted pixels, or ``None`` if none has a score."""
        scored = [row for row in self.at(budget_px) if row.kind == "reference" and not row.same_as and row.final]
        return max(scored, key=lambda row: (row.final.mean if row.final else 0.0, row.label), default=None)

    def ipc_of(self, budget_px: int) -> float | None:
        """Return the granted images per class of a column."""
        return next((row.budget_ipc for row in self.at(budget_px) if row.budget_ipc is not None), None)


def build_sections(records: Iterable[Record]) -> list[Section]:
    """Sort records into sections. The order of ``records`` does not matter."""
    unique = {record.key: record for record in sorted(records, key=_newness)}
    newest_code = {_code_of(record): record.cell.code_hash for record in sorted(unique.values(), key=_newness)}
    usual = _usual_networks(unique.values())
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in unique.values():
        key = _section_key(record)
        groups[(*key, _network_among(record, usual[key[:3]]))].append(record)
    return [
        _build_section(key, groups[key], _distinction(key, list(groups)), usual[key[:3]], newest_code)
        for key in sorted(groups, key=lambda key: (key[:-1], key[-1] != usual[key[:3]], key[-1]))
    ]


def _code_of(record: Record) -> str:
    """Say which code a code hash is of: the method, the parts it was made of, and the prerequisites they needed."""
    cell = record.cell
    return canonical_json([cell.method, cell.parts, sorted(str(needed.get("name")) for needed in cell.prerequisites)])


def _newness(record: Record) -> tuple[str, str]:
    return record.started, record.key


def _section_key(record: Record) -> tuple[str, ...]:
    cell = record.cell
    return cell.dataset, str(cell.protocol.get("name", "")), cell.split, str(cell.protocol.get("hash", "")), cell.data_hash


def _usual_networks(records: Iterable[Record]) -> dict[tuple[str, ...], str]:
    """Return data set, protocol and split -> the network of most records; of equals the first by name."""
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[_section_key(record)[:3]][network_of(record)] += 1
    # A name beats none, however few records have one.
    return {names: min(found, key=lambda name: (not name, -found[name], name)) for names, found in counts.items()}


def _network_among(record: Record, usual: str) -> str:
    """Return the network of a record. One that names none and has no score to compare is listed with the usual network."""
    known = network_of(record)
    return known if known or has_score(record) else usual


def _distinction(key: tuple[str, ...], keys: Sequence[tuple[str, ...]]) -> str:
    """Name the hashes in which sections of the same names differ."""
    namesakes = [other for other in keys if other[:3] == key[:3]]
    words = [f"{name} {key[at][:6]}" for at, name in ((3, "protocol"), (4, "data")) if len({other[at] for other in namesakes}) > 1]
    return ", ".join(words)


def _build_section(
    key: tuple[str, ...], records: list[Record], distinction: str, usual_network: str, newest_code: Mapping[str, str]
) -> Section:
    cells: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        cells[_cell_key(record)].append(record)
    rows = [_row(cells[cell_key], newest_code) for cell_key in sorted(cells)]
    full = sorted((row for row in rows if row.kind == "full_data"), key=lambda row: (row.final is None, -row.effort, row.label))
    lines = _lines(row for row in rows if row.kind != "full_data" and row.budget_px is not None)
    return Section(
        dataset=key[0],
        protocol=key[1],
        split=key[2],
        distinction=distinction,
        lines=lines,
        full_data=full[0] if full else None,
        network=key[-1],
        usual=key[-1] == usual_network,
    )


def _settings(record: Record) -> dict[str, Any]:
    return {**record.cell.fields, "method_version": record.cell.method_version}


def _cell_key(record: Record) -> str:
    """Say what makes records differ only by seed. The typed variant is no part of it: several may mean the same."""
    cell = record.cell
    return canonical_json([cell.method, cell.budget.get("pixels"), cell.effort, _settings(record)])


def _row(records: list[Record], newest_code: Mapping[str, str]) -> Row:
    by_seed = {record.cell.seed: record for record in sorted(records, key=_newness)}
    chosen = tuple(by_seed[seed] for seed in sorted(by_seed))
    kinds = {record.cell.kind for record in chosen}
    variants = sorted({record.cell.variant for record in chosen}, key=lambda text: (len(text), text))
    return Row(
        # What anybody ran as a reference is one for all.
        kind="reference" if "reference" in kinds else chosen[0].cell.kind,
        method=chosen[0].cell.method,
        variant=variants[0],
        records=chosen,
        stale=any(record.cell.code_hash != newest_code[_code_of(record)] for record in chosen),
    )


def _with_copies(row: Row) -> list[Row]:
    """Return a row and, for every other name that resolves to the same cell, a copy under that name."""
    cells = [record.cell for record in row.records]
    names = {cell.label for cell in cells} | {alias for cell in cells for alias in cell.aliases}
    return [row, *(_renamed(row, name) for name in sorted(names - {row.label}))]


def _renamed(row: Row, label: str) -> Row:
    method, _, variant = label.partition("[")
    return replace(row, method=method, variant=variant.removesuffix("]"), same_as=row.label)


def _lines(rows: Iterable[Row]) -> tuple[Line, ...]:
    named = _named_apart([copy for row in rows for copy in _with_copies(row)])
    references = {row.label for row in named if row.kind == "reference"}
    originals = {row.identity: row.label for row in named if not row.same_as}
    lines: dict[tuple[str, float], dict[int, Row]] = defaultdict(dict)
    for row in named:
        # A form of random selection that somebody also entered as a contestant at another budget stays one line.
        kind: Kind = "reference" if row.label in references else row.kind
        same_as = originals[row.identity] if row.same_as else ""
        lines[row.label, row.effort][row.budget_px or 0] = replace(row, kind=kind, same_as=same_as)
    found = [Line(rows) for rows in lines.values()]
    budgets = sorted({px for line in found for px in line.rows}, reverse=True)
    return tuple(sorted(found, key=lambda line: _rank(line, budgets)))


def _named_apart(rows: Iterable[Row]) -> list[Row]:
    """Give rows of one name and other hyper-parameters (the recipe changed between runs) names that show the difference.

    The newest keeps the name as typed.
    """
    squares: dict[tuple[str, float, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        squares[row.label, row.effort, row.budget_px].append(row)
    taken = set(squares)
    named = []
    for square in squares.values():
        newest, *others = sorted(square, key=lambda row: max(_newness(record) for record in row.records), reverse=True)
        named.append(newest)
        for row in others:
            renamed = replace(row, variant=_with_differences(row, newest))
            while (renamed.label, renamed.effort, renamed.budget_px) in taken:
                renamed = replace(renamed, variant=renamed.variant + "'")
            taken.add((renamed.label, renamed.effort, renamed.budget_px))
            named.append(renamed)
    return named


def _with_differences(row: Row, newest: Row) -> str:
    """Return the variant of ``row`` with the hyper-parameters in which it is not like ``newest`` of the same name."""
    current, older = _settings(newest.records[0]), _settings(row.records[0])
    changed = [f"{name}={older.get(name)}" for name in sorted(current | older) if current.get(name) != older.get(name)]
    short = [text if len(text) <= 40 else text[:39] + "…" for text in changed]
    return ",".join([row.variant, *short] if row.variant else short)


def _rank(line: Line, budgets: Sequence[int]) -> tuple[Any, ...]:
    """Order contestants before references, then by accuracy at the largest budget (missing last), the next, and name."""
    finals = [row.final if (row := line.rows.get(px)) else None for px in budgets]
    accuracy = [1.0 if final is None else -final.mean for final in finals]
    return line.first.kind == "reference", accuracy, line.label, line.first.effort
