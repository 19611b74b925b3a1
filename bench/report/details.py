"""details/<data set>.md: everything behind each number of the leaderboard, in tables that fit a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..record import as_published
from .anytime import curve_values, learned_nothing
from .marks import legend, marks_of
from .numbers import accuracy, budget_name, bullets, code, count, duration, escape, half, markdown_table, percent, plain, points, size_of
from .provenance import environment_lines
from .sections import Section

#: Tables of a section: heading -> columns beside method and budget, of which there are at most six.
_TABLES: Mapping[str, Mapping[str, Callable[[Any], str]]] = {
    "Scores": {
        "accuracy": lambda row: accuracy(row) or row.status,
        "n": size_of,
        "over random": lambda row: points(row.gain) + half(row.gain_half),
        "at 8 bit": lambda row: percent(row.accuracy_8bit),
        "val-selected": lambda row: percent(row.accuracy_val_selected),
        "test-best (optimistic)": lambda row: percent(row.accuracy_test_best),
    },
    "Marks and published numbers": {
        "marks": lambda row: escape("; ".join(f"{symbol} {word}" for symbol, word in marks_of(row).items())),
        "not ranked": lambda row: escape(row.unranked),
        "published": lambda row: escape("; ".join(f"{as_published(one)} ({one['source'] or 'no source'})" for one in row.all_published)),
    },
    "What a set stores": {
        "used px": lambda row: count(row.used_px) + _more(row.unused_px, "unused"),
        "px with labels": lambda row: count(row.px_with_labels),
        "effective IPC": lambda row: plain(row.effective_ipc),
        "label numbers": lambda row: (
            count(row.label_numbers) + (f" ({count(row.charged_labels)} charged)" if row.charged_labels > 0 else "")
        ),
        "other numbers": lambda row: count(row.other_numbers),
        "bytes": lambda row: count(row.bytes),
    },
    "Anytime curves (val, mean over seeds)": {
        "outer steps": lambda row: curve_values(row).get("horizon", ""),
        "schedule": lambda row: escape(curve_values(row).get("schedule", "")),
        "first point": lambda row: curve_values(row).get("first", ""),
        "half way": lambda row: curve_values(row).get("middle", ""),
        "last point": lambda row: curve_values(row).get("last", ""),
        "curve took": lambda row: curve_values(row).get("took", ""),
    },
    "Cost and origin": {
        "outer steps": lambda row: count(row.outer_steps),
        "distil time": lambda row: duration(row.distill_seconds),
        "judge time": lambda row: duration(row.judge_seconds),
        "tuning trials": lambda row: count(row.tuning_trials),
        "set": lambda row: _picture(row),
        "records by seed": lambda row: " ".join(f"[{cell.seed}](../records/{quote(cell.key)}.json)" for cell in row.cells),
    },
}


def details_page(sections: Sequence[Section]) -> str:
    """Write the page of one data set."""
    lines = [f"# Details: {escape(sections[0].dataset)}", "", "What stands behind the numbers of [the leaderboard](../leaderboard.md).", ""]
    for section in sections:
        lines += [f"## {escape(section.title)}", "", *_section(section)]
    return "\n".join(lines)


def _section(section: Section) -> list[str]:
    rows = section.table_rows
    lines = [line for heading, columns in _TABLES.items() for line in _table(heading, columns, rows)]
    lines += bullets(legend(rows))
    cells = [cell for row in section.everything for cell in row.cells]
    if notes := [*_notes(rows), *map(escape, learned_nothing(section)), *environment_lines(cells)]:
        lines += ["### Notes", "", *bullets(notes)]
    return lines


def _table(heading: str, columns: Mapping[str, Callable[[Any], str]], rows: Sequence[Any]) -> list[str]:
    """Write one table, without the rows that it has nothing to say of."""
    found = [
        {"method": code(row.label), "budget": budget_name(row.budget_px, row.budget_ipc).partition(" (")[0], **values}
        for row in rows
        if any((values := {name: write(row) for name, write in columns.items()}).values())
    ]
    return [f"### {heading}", "", markdown_table(found, left=2), ""] if found else []


def _more(number: float, what: str) -> str:
    return f" ({count(number)} {what})" if number > 0 else ""


def _picture(row: Any) -> str:
    paths = [path for cell in row.cells for path in cell.pictures]
    return f"[picture](../{quote(paths[0])})" if paths else ""


def _notes(rows: Sequence[Any]) -> list[str]:
    by_note: dict[str, dict[str, None]] = {}
    for row in rows:
        for note in row.record_notes:
            by_note.setdefault(note, {})[row.label] = None
    return [f"{', '.join(escape(name) for name in by_note[note])}: {escape(note)}" for note in sorted(by_note)]
