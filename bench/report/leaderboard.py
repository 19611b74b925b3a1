"""leaderboard.md: per data set and protocol, methods x budgets, and below it everything behind each number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from .marks import Footnotes, dash, legend, marks_of, missing, symbols
from .numbers import budget_name, code, count, duration, escape, interval, markdown_table, percent, plain, points, size_of
from .provenance import environment_lines
from .ranking import gain_over_random, standings
from .rows import Row
from .sections import Line, Section
from .statistics import MIN_SEEDS, sampling_error

_ABOUT = (
    "Accuracy in percent of fresh students on test images, after a number of steps that was fixed beforehand (`final`), for each budget of "
    "stored pixels. Written by `ddbench` from the files in `records/`, and only from them."
)


def leaderboard(sections: Sequence[Section], warnings: Sequence[str], plots: Sequence[str]) -> str:
    """Write the leaderboard.

    Args:
        sections: what may be compared.
        warnings: sentences to show at the top.
        plots: for each section the path of its plot relative to the out folder, or an empty string.
    """
    lines = ["# Leaderboard", "", _ABOUT, ""]
    lines += [f"> Warning: {escape(warning)}\n" for warning in warnings]
    if not sections:
        lines += ["There are no records yet. `python run_bench.py` makes some.", ""]
    for section, plot in zip(sections, plots, strict=True):
        lines += _section(section, plot)
    return "\n".join(lines)


def _section(section: Section, plot: str) -> list[str]:
    rows = section.rows()
    footnotes = Footnotes()
    table = _main_table(section, footnotes) if rows else ["No method has been run here yet."]
    lines = [f"## {escape(section.title)}", "", *_bullets(_header(section, rows)), ""]
    if plot:
        lines += [f"![accuracy against pixels]({quote(plot)})", ""]
    lines += [*table, ""]
    if explained := [*_how_to_read(section, rows), *_gaps(section), *legend(rows), *footnotes.lines()]:
        lines += [*_bullets(explained), ""]
    if rows:
        lines += ["### Details", "", _details_table(section, rows), ""]
    if notes := _notes(rows):
        lines += ["### Notes", "", *_bullets(notes), ""]
    return lines


def _bullets(sentences: Sequence[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _header(section: Section, rows: Sequence[Row]) -> list[str]:
    everything = [*rows, *([section.full_data] if section.full_data else [])]
    records = [record for row in everything for record in row.records]
    return [
        *_students(rows),
        *_full_data(section.full_data),
        *_sizes(rows),
        *_test_error(rows),
        *environment_lines(records),
    ]


def _students(rows: Sequence[Row]) -> list[str]:
    networks = sorted({row.network for row in rows if row.network})
    return [f"Students: {', '.join(code(name) for name in networks)}."] if networks else []


def _full_data(full_data: Row | None) -> list[str]:
    if full_data is None:
        return []
    if full_data.final is None:
        return [f"Full data: not known ({escape(missing(full_data))})."]
    students = full_data.final.n_students
    over = f"{students} student{'s' * (students != 1)}" if full_data.final.n_distil == 1 else f"n = {size_of(full_data.final)}"
    effort = "" if full_data.effort == 1 else f", † effort {plain(full_data.effort)}"
    return [f"Full data: {interval(full_data.final)} ({over} trained on all training images{effort})."]


def _sizes(rows: Sequence[Row]) -> list[str]:
    sizes = _distinct_sizes(rows)
    if not sizes:
        return []
    where = f"n = {sizes[0]}" if len(sizes) == 1 else "n follows each number in brackets"
    return [f"{where} (distillations × students of each); ± is the 95 % t-interval over distillations of the mean over students."]


def _distinct_sizes(rows: Sequence[Row]) -> list[str]:
    return sorted({size_of(row.final) for row in rows if row.final})


def _test_error(rows: Sequence[Row]) -> list[str]:
    scored = [row for row in rows if row.final]
    n_tests = sorted({int(n) for row in scored for record in row.scored if (n := record.scores.get("n_test"))})
    if not n_tests:
        return []
    best = max(row.final.mean for row in scored if row.final)
    errors = f"{percent(sampling_error(best, n_tests[0]))} points at {percent(best)} %, {percent(sampling_error(0.5, n_tests[0]))} at 50 %"
    sizes = ", ".join(f"{n:,}" for n in n_tests)
    return [f"{sizes} test images: their own standard error ({errors}) is shared by all rows and is not part of ±."]


def _main_table(section: Section, footnotes: Footnotes) -> list[str]:
    uniform = len(_distinct_sizes(section.rows())) <= 1
    columns = {px: standings(section.at(px)) for px in section.budgets}

    def cell(line: Line, px: int) -> str:
        row = line.rows.get(px)
        return "" if row is None else _accuracy_cell(row, row.identity in columns[px], uniform, footnotes)

    def block(lines: Sequence[Line]) -> list[list[str]]:
        return [[_line_name(line), *(cell(line, px) for px in section.budgets)] for line in lines]

    headers = ["method", *(budget_name(px, section.ipc_of(px)) for px in section.budgets)]
    rows = block(section.contestants())
    if references := section.references():
        rows += [["*references: real images at equal pixels*", *[""] * len(section.budgets)], *block(references)]
    return [markdown_table(headers, rows)]


def _line_name(line: Line) -> str:
    effort = line.first.effort
    return code(line.label) + ("" if effort == 1 else f" at effort {plain(effort)} †")


def _accuracy_cell(row: Row, bold: bool, uniform: bool, footnotes: Footnotes) -> str:
    if row.final is None:
        return dash(row, footnotes)
    number = interval(row.final)
    size = "" if uniform else f"({size_of(row.final)})"
    parts = [f"**{number}**" if bold else number, size, symbols(row), footnotes.of(row)]
    return " ".join(part for part in parts if part)


def _how_to_read(section: Section, rows: Sequence[Row]) -> list[str]:
    if not any(standings(section.at(px)) for px in section.budgets):
        return [f"Nothing is bold: that takes a tuned recipe, effort 1 and {MIN_SEEDS} or more seeds without a failure."] if rows else []
    return [
        "**Bold**: the best of a column and what a paired t-test over equal seeds (5 %, Holm's correction) cannot tell from it. "
        f"Only tuned rows at effort 1 with {MIN_SEEDS} or more seeds, none of them failed, take part; "
        "few seeds tell only large differences apart."
    ]


def _gaps(section: Section) -> list[str]:
    complete = all(px in line.rows for line in section.lines for px in section.budgets)
    return [] if complete else ["An empty square was not run."]


def _details_table(section: Section, rows: Sequence[Row]) -> str:
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("method", lambda row: code(row.label)),
        ("budget", lambda row: budget_name(row.budget_px or 0, row.budget_ipc)),
        ("marks", lambda row: escape("; ".join(f"{symbol} {word}" for symbol, word in marks_of(row).items()))),
        ("accuracy", lambda row: interval(row.final) or row.status),
        ("gain over random", lambda row: _gain(section, row)),
        ("used px", lambda row: count(row.audited("pixels"))),
        ("unused px", lambda row: count(row.unused_px)),
        ("effective IPC", lambda row: plain(row.audited("effective_ipc"))),
        ("px with labels", lambda row: count(row.audited("px_with_labels"))),
        ("label numbers", lambda row: count(row.audited("label_numbers"))),
        ("charged labels", lambda row: count(row.audited("charged_labels") or None)),
        ("other numbers", lambda row: count(row.audited("other_numbers"))),
        ("bytes", lambda row: count(row.audited("bytes"))),
        ("accuracy at 8 bit", lambda row: interval(row.estimate("final_8bit", "test"))),
        ("val-selected", lambda row: interval(row.estimate("val_selected", "test"))),
        ("test-best (optimistic)", lambda row: interval(row.estimate("test_best", "test"))),
        ("distil time", lambda row: duration(row.average(lambda record: record.distil.get("seconds")))),
        ("n", lambda row: size_of(row.final) if row.final else ""),
        ("set", _picture),
        ("records by seed", _record_links),
    ]
    cells = [[write(row) for row in rows] for _, write in columns]
    used = [index for index, column in enumerate(cells) if any(column)]
    body = [[cells[index][row] for index in used] for row in range(len(rows))]
    left = 3 if 2 in used else 2
    return markdown_table([columns[index][0] for index in used], body, left=left)


def _gain(section: Section, row: Row) -> str:
    gain = gain_over_random(section, row)
    if gain is None:
        return ""
    half_width = "" if gain.half_width is None else f" ± {percent(gain.half_width)}"
    return points(gain.difference) + half_width


def _picture(row: Row) -> str:
    paths = [path for record in row.records for path in record.pictures]
    return f"[picture]({quote(paths[0])})" if paths else ""


def _record_links(row: Row) -> str:
    return " ".join(f"[{record.cell.seed}](records/{quote(record.key)}.json)" for record in row.records)


def _notes(rows: Sequence[Row]) -> list[str]:
    by_note: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            names = by_note.setdefault(note, [])
            if row.label not in names:
                names.append(row.label)
    return [f"{', '.join(escape(name) for name in by_note[note])}: {escape(note)}" for note in sorted(by_note)]
