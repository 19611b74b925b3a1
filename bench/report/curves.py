"""accuracy_vs_pixels.csv and .md: the points of the plots, and all that is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas

from .marks import marks_of, missing
from .numbers import accuracy, code, count, escape, markdown_table, plain, points
from .sections import Section

#: A stable interface: scripts read these columns by name.
COLUMNS = (
    "dataset", "protocol", "method", "variant", "budget_ipc", "budget_px", "used_px", "effective_ipc", "status", "accuracy",
    "accuracy_lo", "accuracy_hi", "accuracy_final", "accuracy_test_best", "gain_over_random", "n_distill", "n_students", "arch",
    "width", "split", "n_test", "val_accuracy", "accuracy_8bit", "px_equiv", "presented_examples", "outer_steps", "tuning_trials",
    "external", "image_numbers", "label_numbers", "other_numbers", "bytes", "distill_seconds", "judge_seconds", "effort", "notes",
    "px_with_labels", "kind", "published", "published_source",
)  # fmt: skip


def curves_csv(sections: Sequence[Section]) -> str:
    """Write one line per method variant x data set x budget x protocol, the full data included, as CSV.

    Accuracies are fractions with all their digits, whole numbers have no point, and what is absent is an empty field.
    """
    table = pandas.DataFrame([_csv_row(section, row) for section in sections for row in section.everything], columns=COLUMNS)
    text = table.to_csv(index=False, lineterminator="\n", float_format=lambda x: str(int(x)) if x.is_integer() else repr(float(x)))
    return str(text)


def _csv_row(section: Section, row: Any) -> dict[str, Any]:
    values = row._asdict()
    published = row.all_published[0] if row.all_published else {}
    return {
        **values,
        "dataset": section.dataset,
        "protocol": section.protocol,
        "split": section.split,
        "accuracy_final": row.accuracy,
        "gain_over_random": values.get("gain"),
        "px_equiv": row.used_px,
        "published": published["accuracy"] / 100 if published else None,  # papers print per cent
        "published_source": published.get("source"),
        "notes": _notes(section, row),
    }


def _notes(section: Section, row: Any) -> str:
    """Join what the tables show as marks and footnotes with the records' own notes."""
    marks = [word for symbol, word in marks_of(row).items() if symbol != "◊"]
    ceiling = section.not_a_ceiling if row.kind == "full_data" else ""
    count_of = f"{row.n_scored} of {len(row.cells)} seeds" if row.status == "partial" else ""
    others = [f"also {name}" for name in row.names if name != row.label]
    parts = (section.distinction, section.unusual_network, *marks, ceiling and f"not a ceiling: {ceiling}", count_of, missing(row))
    return "; ".join(" ".join(part.split()) for part in (*parts, *others, *row.record_notes) if part)


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
    scored = section.scored.sort_values(["line", "used_px", "budget_px"])
    full = [section.full_data] if section.full_data is not None and section.full_data.n_scored else []
    points_of = [_curve_point(row) for row in [*scored.itertuples(), *full]]
    return markdown_table(points_of) if points_of else "No scores yet."


def _curve_point(row: Any) -> dict[str, str]:
    is_full = row.kind == "full_data"
    return {
        "method": code(row.label),
        "used px": "all" if is_full else count(row.used_px),
        "effective IPC": "" if is_full else plain(row.effective_ipc),
        "budget px": count(row.budget_px),
        "unused px": count(row.unused_px),
        "accuracy": accuracy(row),
        "gain over random": "" if is_full else points(row.gain),
        "marks": " ".join(marks_of(row)),
    }
