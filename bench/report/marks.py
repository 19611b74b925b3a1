"""Marks: what a reader must know of a number before comparing it, and the footnotes of numbers that are not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .numbers import escape, plain, shortened

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

#: Symbol -> what it means, in the order in which symbols are shown.
MEANINGS = {
    "†": "effort is not 1: the distillation took another number of outer steps than its recipe says; never bold",
    "‡": "single seed: one distilled set says nothing of the spread between sets, so there is no interval; never bold",
    "(same set)": "every seed came to the same set, byte for byte: n is 1, and there is no interval over sets",
    "§": "adapted: a method that keeps whole images, below one image per class",
    "¶": "untuned: no recipe rule holds for this data set and budget that says who tuned its values; never bold",
    "◊": "external: uses something from outside the training data",
    "∥": "unofficial: images from a copy of the data set that nobody vouches for",
    "(seen val)": "made elsewhere from images that are val here; never bold; `--split paper` is where it can be ranked",
    "(timed out)": "the time ran out: judged is what the distillation had by then (`--keep-on-timeout`); never bold",
    "(stale)": "made by other code of the method than this folder's last run of it had; `--rerun stale` makes it anew",
    "(=)": "the very same cell as another row, because the parameters resolve to the same; counted and tested once",
}


def marks_of(row: Any) -> dict[str, str]:
    """Return symbol -> a word on this row, for every mark the row must carry."""
    shown, is_set = bool(row.n_scored), row.kind != "full_data"  # a dash needs no word on how its number came about
    words = {
        "†": f"effort {plain(row.effort)}" if row.effort != 1 else "",
        "‡": "single seed" if row.n_scored == 1 and is_set else "",
        "(same set)": f"same set for {row.n_scored} seeds" if row.same_set else "",
        "§": row.adapted if shown else "",
        "¶": "" if row.tuned or not shown else "untuned",
        "◊": row.external if shown else "",
        "∥": "unofficial copy" if row.unofficial else "",
        "(seen val)": "seen val" if row.seen_val else "",
        "(timed out)": _timed_out(row),
        "(stale)": "stale" if row.stale else "",
        "(=)": f"same as {row.same_as}" if row.same_as else "",
    }
    return {symbol: words[symbol] for symbol in MEANINGS if words[symbol]}


def _timed_out(row: Any) -> str:
    """Say how many of the sets of a row are what there was when the time ran out."""
    if not row.timed_out:
        return ""
    number = sum(cell.status == "timeout" for cell in row.cells if cell.n_students)
    return "timed out" if number == row.n_scored else f"{number} of {row.n_scored} timed out"


def legend(rows: Iterable[Any]) -> list[str]:
    """Explain the marks that are in use, each with the words that the rows give."""
    used: dict[str, set[str]] = {}
    for row in rows:
        for symbol, word in marks_of(row).items():
            used.setdefault(symbol, set()).add(word)
    words = {symbol: f" ({escape('; '.join(sorted(used[symbol])))})" for symbol in used if symbol in "†§◊"}
    return [f"{symbol} {meaning}{words.get(symbol, '')}" for symbol, meaning in MEANINGS.items() if symbol in used]


def footnote(text: str, notes: dict[str, int]) -> str:
    """Return the superscript number of a text, the next free one where it is new; nothing for no text."""
    return str(notes.setdefault(text, len(notes) + 1)).translate(_SUPERSCRIPT) if text else ""


def footnotes(notes: Mapping[str, int]) -> list[str]:
    """Write the texts behind the numbers."""
    return [f"{footnote(text, {text: number})} {escape(text)}" for text, number in notes.items()]


def missing(row: Any) -> str:
    """Say which seeds of a row have no score and why; empty if all have one."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for cell in row.cells:
        if not cell.n_students:
            reason = shortened(" ".join(cell.reason.split()) or "no reason was recorded", 300)
            groups.setdefault((cell.status, reason), []).append(cell)
    return "; ".join(_explain(row, status, reason, cells) for (status, reason), cells in groups.items())


def _explain(row: Any, status: str, reason: str, cells: list[Any]) -> str:
    everywhere = len(cells) == len(row.cells)
    seeds = ", ".join(str(cell.seed) for cell in cells)
    where = "" if everywhere and status == "refused" else f", seed{'s' * (len(cells) > 1)} {seeds} of {row.label}"
    # Refusals come from the plan: nothing ran, so there is no log to read.
    logs = sorted({cell.log for cell in cells if cell.log and status != "refused"})
    pointer = f" (log: {', '.join(logs)})" if logs else ""
    return f"{status}{where}: {reason}{pointer}"
