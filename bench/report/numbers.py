"""How numbers and names are written in the tables."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from .rows import MeanAccuracy

DASH = "—"

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(fraction: float) -> str:
    """Write a fraction as a percentage with one decimal, without the sign."""
    return f"{100 * fraction:.1f}"


def interval(estimate: MeanAccuracy | None) -> str:
    """Write ``61.2 ± 1.3`` in percent; nothing for a score that is absent."""
    if estimate is None:
        return ""
    half_width = "" if estimate.half_width is None else f" ± {percent(estimate.half_width)}"
    return percent(estimate.mean) + half_width


def points(difference: float) -> str:
    """Write a difference of two fractions in points with its sign; a rounded zero has none."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def count(value: float | None) -> str:
    """Write a count with thousands separated; an average that is no whole number keeps one decimal."""
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plain(value: float | None) -> str:
    """Write a number with at most four significant digits and no exponent where it is small."""
    return "" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Write seconds as a person would: ``14 s``, ``2.3 min``, ``5.1 h``, ``3.0 d``."""
    if seconds is None:
        return ""
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.1f} d"


def budget_name(pixels: int, ipc: float | None) -> str:
    """Write a granted budget: ``0.3 IPC (192 px)``."""
    return f"{pixels:,} px" if ipc is None else f"{plain(ipc)} IPC ({pixels:,} px)"


def size_of(estimate: MeanAccuracy) -> str:
    """Write ``3 × 5``: distillations x students."""
    return f"{estimate.n_distil} × {'?' if estimate.n_students is None else estimate.n_students}"


def superscript(number: int) -> str:
    """Write the number of a footnote."""
    return str(number).translate(_SUPERSCRIPT)


def escape(text: str) -> str:
    """Make free text safe inside a Markdown table: one line, no cell border, no markup."""
    text = " ".join(text.split())
    for character, safe in (("\\", "\\\\"), ("|", "\\|"), ("*", "\\*"), ("`", "'"), ("<", "&lt;"), ("[", "\\[")):
        text = text.replace(character, safe)
    return text


def code(text: str) -> str:
    """Write a name as code; inside a table a ``|`` must be escaped in code, too."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lay out a Markdown table of finished strings: the first ``left`` columns aligned left, the others right."""
    align = ["left" if column < left else "right" for column in range(len(headers))]
    # Numbers are formatted already; tabulate would read them and format them again, column by column.
    return tabulate([list(row) for row in rows], list(headers), tablefmt="pipe", colalign=align, disable_numparse=True)
