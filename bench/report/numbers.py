"""How numbers and names are written in the tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas


def percent(fraction: float) -> str:
    """Write a fraction as a percentage with one decimal, without the sign; nothing for what is absent."""
    return "" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def accuracy(row: Any) -> str:
    """Write the number of a row in percent: ``61.2 ± 1.3``, or its values where they are too few for an interval; or nothing."""
    if not row.n_scored:
        return ""
    if len(row.values) == 2:
        return f"{percent(row.accuracy)} ({', '.join(percent(value) for value in row.values)})"
    return percent(row.accuracy) + half(row.half_width)


def half(width: float) -> str:
    """Write half an interval of accuracies in points, `` ± 1.3``, or nothing."""
    return "" if math.isnan(width) else f" ± {percent(width)}"


def points(difference: float) -> str:
    """Write a difference of two fractions in points with its sign; a rounded zero has none, and what is absent is nothing."""
    if math.isnan(difference):
        return ""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def count(value: float) -> str:
    """Write a count with thousands separated; an average that is no whole number keeps one decimal."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plain(value: float) -> str:
    """Write a number with at most four significant digits and no exponent where it is small."""
    return "" if math.isnan(value) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write seconds as a person would: ``14 s``, ``2.3 min``, ``5.1 h``, ``3.0 d``."""
    if math.isnan(seconds):
        return ""
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.1f} d"


def budget_name(pixels: float, ipc: float) -> str:
    """Write a granted budget: ``0.3 IPC (192 px)``."""
    return f"{pixels:,.0f} px" if math.isnan(ipc) else f"{plain(ipc)} IPC ({pixels:,.0f} px)"


def size_of(row: Any) -> str:
    """Write ``3 × 5``: distilled sets x students of each."""
    return f"{plain(row.n_distill)} × {plain(row.n_students) or '?'}" if row.n_scored else ""


def shortened(text: str, width: int) -> str:
    """Cut a text that is wider than ``width`` characters, and show that it is cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


def escape(text: str) -> str:
    """Make free text safe inside a Markdown table: one line, no cell border, no markup."""
    text = " ".join(text.split())
    for character, safe in (("\\", "\\\\"), ("|", "\\|"), ("*", "\\*"), ("`", "'"), ("<", "&lt;"), ("[", "\\[")):
        text = text.replace(character, safe)
    return text


def code(text: str) -> str:
    """Write a name as code; inside a table a ``|`` must be escaped in code, too."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def bullets(sentences: Iterable[str]) -> list[str]:
    """Write a list, and an empty line after it; nothing where there is nothing to say."""
    found = [f"- {sentence}" for sentence in sentences]
    return [*found, ""] if found else []


def markdown_table(rows: Sequence[Mapping[str, str]], left: int = 1, keep: bool = False) -> str:
    """Lay out a Markdown table of finished strings: the first ``left`` columns aligned left, the others right.

    Args:
        rows: header -> text, the same headers for all.
        left: columns aligned left.
        keep: keep columns without any text.
    """
    table = pandas.DataFrame(rows)
    table = table.loc[:, [keep or index < left or (table[name] != "").any() for index, name in enumerate(table)]]
    align = ["left" if index < left else "right" for index in range(table.shape[1])]
    # Numbers are formatted already; tabulate would read them and format them again, column by column.
    return str(table.to_markdown(index=False, colalign=align, disable_numparse=True))
