"""leaderboard.md: per data set and protocol who is ahead at each budget, and methods x budgets. details.py has the rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

import pandas

from .anytime import has_curves, learned_nothing
from .marks import footnote, footnotes, legend, marks_of, missing
from .numbers import (
    accuracy,
    budget_name,
    bullets,
    code,
    duration,
    escape,
    half,
    markdown_table,
    percent,
    plain,
    points,
    shortened,
    size_of,
)
from .provenance import environment_lines
from .ranking import against_first, differences, unranked
from .sections import Section
from .statistics import LEVEL, MIN_SEEDS, sampling_error, t_half_width

#: Characters in a line of a table; wider ones are scrolled on the page of a code host.
_WIDTH = 120

_ABOUT = (
    "Accuracy in percent of fresh students on test images, after a number of steps that was fixed beforehand (`final`), for each budget of "
    "stored pixels. Written by `ddbench` from the files in `records/`."
)


def leaderboard(sections: Sequence[Section], warnings: Sequence[str]) -> str:
    """Write the leaderboard, with ``warnings`` at the top."""
    lines = ["# Leaderboard", "", _ABOUT, "", *(f"> Warning: {escape(warning)}\n" for warning in warnings)]
    lines += [] if sections else ["There are no records yet. `python run_bench.py` makes some.", ""]
    return "\n".join([*lines, *(line for section in sections for line in _section(section))])


def _section(section: Section) -> list[str]:
    notes: dict[str, int] = {}
    tables = _main_tables(section, notes) if len(section.rows) else ["No method has been run here yet.", ""]
    shown = [*section.table_rows, *section.copies.itertuples()]
    lines = [f"## {escape(section.title)}", "", *_first_places(section), *tables]
    lines += bullets([*_how_to_read(section), *legend(shown), *_other_names(section), *footnotes(notes)])
    lines += [f"![accuracy against pixels]({quote(section.plot)}.png)", ""] if len(section.scored) else []
    lines += [f"![val accuracy against time]({quote(section.anytime_plot)}.png)", ""] if has_curves(section) else []
    lines += bullets([*_about(section), *map(escape, learned_nothing(section))])
    return [*lines, f"What each set stores, every other score, cost, notes and records: [details]({quote(section.page)}).", ""]


def _first_places(section: Section) -> list[str]:
    """Say at each budget which contestant is first, by how much, whether that is significant, and what its set took to make."""
    contestants = (row for row in section.table_rows if row.n_scored and row.kind == "contestant")
    table = [_first_place(list(column)) for _, column in groupby(contestants, lambda row: row.budget_px)]
    if not table:
        return []
    words = f"p: paired t-test over seeds of the first two, Holm's correction over all contestants; significant below {plain(LEVEL)}."
    return [markdown_table(table, left=3), "", f"The first two contestants, in points. {words}", ""]


def _first_place(contestants: Sequence[Any]) -> dict[str, str]:
    pool = [row for row in contestants if not unranked(row)] or contestants
    (first, _), (second, p) = (*against_first(pool), (None, 0.0))[:2]
    by = differences(first, second) if second else []
    test = f"{'yes' if p < LEVEL else 'no'}, p = {plain(float(f'{p:.2g}'))}" if len(by) >= MIN_SEEDS else "too few seeds"
    return {
        "budget": f"{plain(first.budget_ipc)} IPC"
        if first.budget_ipc == first.budget_ipc
        else budget_name(first.budget_px, first.budget_ipc),
        "first": _short_name(first),
        "ahead of": _short_name(second) if second else "",
        "by": points(first.accuracy - second.accuracy) + half(t_half_width(by)) if second else "",
        "significant": test if second else "",
        "over random": points(first.gain) + half(first.gain_half),
        "one set takes": duration(first.distill_seconds),
    }


def _short_name(row: Any) -> str:
    return code(shortened(row.label, 24)) + (f" ({reason})" if (reason := unranked(row)) else "")


def _main_tables(section: Section, notes: dict[str, int]) -> list[str]:
    """Write methods x budgets, in as many tables as fit the page."""
    squares = pandas.concat([section.rows, section.copies]).sort_values(["line", "budget_px"])
    uniform = len(_sizes(section)) <= 1
    rows = list(squares.itertuples())
    squares["text"] = [_square(row, uniform, notes) for row in rows]
    squares["name"] = [_line_name(row, notes) for row in rows]
    names = squares.groupby("line")[["name", "kind"]].first()
    texts = squares.pivot(index="line", columns="budget_px", values="text").fillna("")
    texts.columns = [budget_name(px, ipc) for px, ipc in section.budgets.items()]
    for size in range(texts.shape[1], 0, -1):
        tables = [_main_table(names, texts.iloc[:, start : start + size]) for start in range(0, texts.shape[1], size)]
        if size == 1 or all(len(table.splitlines()[0]) <= _WIDTH for table in tables):
            break
    return [line for table in tables for line in (table, "")]


def _main_table(names: pandas.DataFrame, texts: pandas.DataFrame) -> str:
    table = texts.copy()
    table.insert(0, "method", names.name)
    rows = table.to_dict("records")
    if (names.kind == "reference").any():
        heading = {**dict.fromkeys(table, ""), "method": "*real images at equal pixels*"}
        rows.insert(int((names.kind != "reference").sum()), heading)
    return markdown_table(rows, left=1, keep=True)


def _line_name(row: Any, notes: dict[str, int]) -> str:
    """Name a line; a name too long for the page is cut, and whole in a footnote."""
    short = shortened(row.label, 40)
    note = footnote("" if short == row.label else row.label, notes)
    return f"{code(short)} {note}".strip() + ("" if row.effort == 1 else f" † effort {plain(row.effort)}, not ranked")


def _square(row: Any, uniform: bool, notes: dict[str, int]) -> str:
    note = footnote(missing(row), notes)
    if not row.n_scored:
        return f"— {note}" if row.status == "refused" else f"— {row.status} {note}"
    number = f"**{accuracy(row)}**" if row.standing else accuracy(row)
    size = "" if uniform else f"({size_of(row)})"
    marks = " ".join(symbol for symbol in marks_of(row) if symbol != "†")  # the name of the line says it, and that it is not ranked
    parts = (number, size, marks, note, f"*{escape(row.why)}*" if row.why and row.effort == 1 else "")
    return " ".join(part for part in parts if part)


def _sizes(section: Section) -> list[str]:
    return sorted({size_of(row) for row in section.scored.itertuples()})


def _how_to_read(section: Section) -> list[str]:
    rows, squares = section.rows, len(section.rows) + len(section.copies)
    if not len(rows):
        return []
    gaps = ["An empty square was not run."] if squares < rows.line.nunique() * len(section.budgets) else []
    if not (rows.standing != "").any():
        return [f"Nothing is bold: that takes a tuned recipe, effort 1 and {MIN_SEEDS} or more seeds without a failure.", *gaps]
    return [
        "**Bold**: the best of a column and what a paired t-test over equal seeds (5 %, Holm's correction) cannot tell from it. "
        f"Only tuned rows at effort 1 with {MIN_SEEDS} or more seeds, none of them failed, take part; "
        "few seeds tell only large differences apart.",
        *gaps,
    ]


def _other_names(section: Section) -> list[str]:
    """Name what has no line of its own, because at every budget it comes to the cell of another line."""
    shown = {*section.rows.label, *section.copies.label}
    found: dict[tuple[str, str], list[str]] = {}
    for row in section.table_rows:
        for name in row.names:
            if name not in shown:
                found.setdefault((name, row.label), []).append(budget_name(row.budget_px, row.budget_ipc))
    return [f"{code(name)} is the same cell as {code(label)} at {', '.join(at)}." for (name, label), at in found.items()]


def _about(section: Section) -> list[str]:
    cells = [cell for row in section.everything for cell in row.cells]
    networks = sorted({row.network for row in section.table_rows if row.network})
    students = [f"Students: {', '.join(code(name) for name in networks)}."] if networks else []
    mixed = [line for line in environment_lines(cells) if line.startswith("**")]
    return [*mixed, *students, *_full_data(section), *_size_line(section), *_test_error(section)]


def _full_data(section: Section) -> list[str]:
    full = section.full_data
    if full is None:
        return []
    if not full.n_scored:
        return [f"Full data: not known ({escape(missing(full))})."]
    students = f"{plain(full.n_students)} student{'s' * (full.n_students != 1)}" if full.n_scored == 1 else f"n = {size_of(full)}"
    ceiling = f" **Not a ceiling**: {escape(section.not_a_ceiling)}." if section.not_a_ceiling else ""
    return [f"Full data: {accuracy(full)} ({students} trained on all training images).{ceiling}"]


def _size_line(section: Section) -> list[str]:
    sizes = _sizes(section)
    if not sizes:
        return []
    where = f"n = {sizes[0]}" if len(sizes) == 1 else "n follows each number in brackets"
    scored = section.scored
    has_interval, is_few = scored.half_width.notna().any(), (scored.n_distill < MIN_SEEDS).any()
    interval = "; ± is the 95 % t-interval over distillations of the mean over students" if has_interval else ""
    few = f"; below {MIN_SEEDS} distillations there is none, and two values stand in brackets" if is_few and has_interval else ""
    return [f"{where} (distillations × students of each){interval}{few}."]


def _test_error(section: Section) -> list[str]:
    scored = section.scored
    if not scored.n_test.notna().any():
        return []
    best, n_test = scored.accuracy.max(), scored.n_test.min()
    errors = f"{percent(sampling_error(best, n_test))} points at {percent(best)} %, {percent(sampling_error(0.5, n_test))} at 50 %"
    sizes = ", ".join(f"{n:,.0f}" for n in sorted(scored.n_test.dropna().unique()))
    return [f"{sizes} test images: their own standard error ({errors}) is shared by all rows and is not part of any interval."]
