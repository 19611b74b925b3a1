"""accuracy_vs_pixels.csv and .md: the points of the plots, and all that is known of each."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from .marks import marks_of, missing
from .numbers import code, count, escape, interval, markdown_table, plain, points
from .ranking import gain_over_random
from .rows import MeanAccuracy, Row
from .sections import Section

#: A stable interface: scripts read these columns by name.
COLUMNS = (
    "dataset", "protocol", "method", "variant", "budget_ipc", "budget_px", "used_px", "effective_ipc", "status", "accuracy",
    "accuracy_lo", "accuracy_hi", "accuracy_final", "accuracy_test_best", "gain_over_random", "n_distill", "n_students", "arch",
    "width", "split", "n_test", "val_accuracy", "accuracy_8bit", "px_equiv", "presented_examples", "outer_steps", "tuning_trials",
    "external", "image_numbers", "label_numbers", "other_numbers", "bytes", "distill_seconds", "judge_seconds", "effort", "notes",
    "px_with_labels",
)  # fmt: skip


def curves_csv(sections: Sequence[Section]) -> str:
    """Write one line per method variant x data set x budget x protocol, the full data included, as CSV.

    Accuracies are fractions with all their digits; what is absent is an empty field.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for section in sections:
        for row in [*section.rows(), *([section.full_data] if section.full_data else [])]:
            writer.writerow({name: _plain(value) for name, value in _csv_row(section, row).items()})
    return text.getvalue()


def _csv_row(section: Section, row: Row) -> dict[str, Any]:
    arch, width = row.arch_and_width
    gain = gain_over_random(section, row)
    pixels = row.audited("pixels")
    counts = ("effective_ipc", "image_numbers", "label_numbers", "other_numbers", "bytes", "px_with_labels")
    return {
        "dataset": section.dataset,
        "protocol": section.protocol,
        "method": row.method,
        "variant": row.variant,
        "budget_ipc": row.budget_ipc,
        "budget_px": row.budget_px,
        "used_px": pixels,
        "status": row.status,
        **_accuracies(row),
        "gain_over_random": gain.difference if gain else None,
        "arch": arch,
        "width": width,
        "split": section.split,
        "n_test": row.average(lambda record: record.scores.get("n_test")),
        "px_equiv": pixels,
        "presented_examples": row.average(lambda record: record.training.get("presented_examples")),
        "outer_steps": row.average(lambda record: record.distil.get("outer_steps", record.cell.outer_steps)),
        "tuning_trials": row.records[0].cell.tuning_trials,
        "external": row.external,
        **{name: row.audited(name) for name in counts},
        "distill_seconds": row.average(lambda record: record.distil.get("seconds")),
        "judge_seconds": row.average(lambda record: record.seconds.get("judge")),
        "effort": row.effort,
        "notes": _notes(section, row),
    }


def _accuracies(row: Row) -> dict[str, Any]:
    final = row.final
    if final is None:
        return {}
    low, high = final.bounds or (None, None)
    return {
        "accuracy": final.mean,
        "accuracy_lo": low,
        "accuracy_hi": high,
        "accuracy_final": final.mean,
        "accuracy_test_best": _mean(row.estimate("test_best", "test")),
        "n_distill": final.n_distil,
        "n_students": final.n_students,
        "val_accuracy": _mean(row.estimate("final", "val")),
        "accuracy_8bit": _mean(row.estimate("final_8bit", "test")),
    }


def _mean(estimate: MeanAccuracy | None) -> float | None:
    return estimate.mean if estimate else None


def _notes(section: Section, row: Row) -> str:
    """Join what the tables show as marks and footnotes with the records' own notes."""
    marks = [word for symbol, word in marks_of(row).items() if symbol != "◊"]
    return "; ".join(
        " ".join(part.split()) for part in (section.distinction, section.unusual_network, *marks, missing(row), *row.notes) if part
    )


def _plain(value: Any) -> str:
    """Write a number with all its digits, a whole one without a point, and nothing for what is absent."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def curves_markdown(sections: Sequence[Section]) -> str:
    """Write the points of each method's curve, by used pixels."""
    lines = [
        "# Accuracy against pixels",
        "",
        "The points of the plots: test accuracy in percent against the pixels a set really stores (all numbers but the free labels, "
        "divided by the channels). [leaderboard.md](leaderboard.md) explains the marks and n; "
        "[accuracy_vs_pixels.csv](accuracy_vs_pixels.csv) has every digit.",
        "",
    ]
    if not sections:
        lines += ["There are no records yet.", ""]
    for section in sections:
        lines += [f"## {escape(section.title)}", "", _curves_table(section), ""]
    return "\n".join(lines)


def _curves_table(section: Section) -> str:
    headers = ["method", "used px", "effective IPC", "budget px", "unused px", "accuracy", "gain over random", "marks"]
    rows = []
    for line in section.lines:
        for row in sorted(line.rows.values(), key=lambda row: (row.audited("pixels") or 0, row.budget_px or 0)):
            if row.final is not None:
                rows.append(_curve_point(section, row))
    if section.full_data and section.full_data.final:
        # That there is one seed says nothing here: no set was distilled.
        marks = " ".join(symbol for symbol in marks_of(section.full_data) if symbol != "‡")
        rows.append([code(section.full_data.label), "all", "", "", "", interval(section.full_data.final), "", marks])
    return markdown_table(headers, rows) if rows else "No scores yet."


def _curve_point(section: Section, row: Row) -> list[str]:
    gain = gain_over_random(section, row)
    return [
        code(row.label),
        count(row.audited("pixels")),
        plain(row.audited("effective_ipc")),
        count(row.budget_px),
        count(row.unused_px),
        interval(row.final),
        points(gain.difference) if gain else "",
        " ".join(marks_of(row)),
    ]
