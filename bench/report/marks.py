"""Marks: what a reader must know of a number before comparing it, and the footnotes of numbers that are not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..record import Record
from .numbers import DASH, escape, plain, superscript
from .rows import Row, has_score, shown_status

#: Symbol -> what it means, in the order in which symbols are shown.
MEANINGS = {
    "†": "effort is not 1: the distillation took another number of outer steps than its recipe says; never bold",
    "‡": "single seed: ± is the interval over the students of one distilled set, without the spread between distillations; never bold",
    "§": "adapted: a method that keeps whole images, below one image per class",
    "¶": "untuned: no recipe rule for this data set and budget, the method ran with its defaults; never bold",
    "◊": "external: uses something from outside the training data",
    "∥": "unofficial: images from a copy of the data set that nobody vouches for",
    "(stale)": "made by other code of the method than its newest record; `--rerun stale` makes it anew",
    "(=)": "the very same cell as another row, because the parameters resolve to the same; counted and tested once",
}


def marks_of(row: Row) -> dict[str, str]:
    """Return symbol -> a word on this row, for every mark the row must carry."""
    shown = bool(row.final)  # a dash needs no word on how its number came about
    words = {
        "†": f"effort {plain(row.effort)}" if row.effort != 1 else "",
        "‡": "single seed" if len(row.scored) == 1 else "",
        "§": row.adapted if shown else "",
        "¶": "" if row.tuned or row.kind == "full_data" or not shown else "untuned",
        "◊": row.external if shown else "",
        "∥": "unofficial copy" if row.unofficial else "",
        "(stale)": "stale" if row.stale else "",
        "(=)": f"same as {row.same_as}" if row.same_as else "",
    }
    return {symbol: words[symbol] for symbol in MEANINGS if words[symbol]}


def symbols(row: Row) -> str:
    """Return the symbols of a row, which follow its number."""
    return " ".join(marks_of(row))


def legend(rows: Iterable[Row]) -> list[str]:
    """Explain the marks that are in use, each with the words that the rows give."""
    used: dict[str, set[str]] = {}
    for row in rows:
        for symbol, word in marks_of(row).items():
            used.setdefault(symbol, set()).add(word)
    return [f"{symbol} {meaning}{_details(symbol, used[symbol])}" for symbol, meaning in MEANINGS.items() if symbol in used]


def _details(symbol: str, words: set[str]) -> str:
    if symbol not in ("†", "§", "◊"):
        return ""
    return f" ({escape('; '.join(sorted(words)))})"


@dataclass
class Footnotes:
    """Numbers reasons in the order in which they are first asked for; equal reasons share a number."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> str:
        """Return the superscript number of a reason."""
        if text not in self.texts:
            self.texts.append(text)
        return superscript(self.texts.index(text) + 1)

    def of(self, row: Row) -> str:
        """Return the superscript number for the seeds of a row that have no score, or nothing if all have one."""
        text = missing(row)
        return self.number(text) if text else ""

    def lines(self) -> list[str]:
        """Return the footnotes as a list in Markdown."""
        return [f"{superscript(number)} {escape(text)}" for number, text in enumerate(self.texts, start=1)]


def missing(row: Row) -> str:
    """Say which seeds of a row have no score and why; empty if all have one."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in row.records:
        if not has_score(record):
            groups.setdefault((shown_status(record), _reason(record)), []).append(record)
    return "; ".join(_explain(row, status, reason, records) for (status, reason), records in groups.items())


def _reason(record: Record) -> str:
    text = " ".join(record.reason.split()) or ("the record holds no score" if record.status == "ok" else "no reason was recorded")
    return text if len(text) <= 300 else text[:299] + "…"


def _explain(row: Row, status: str, reason: str, records: list[Record]) -> str:
    everywhere = len(records) == len(row.records)
    seeds = ", ".join(str(record.cell.seed) for record in records)
    where = "" if everywhere and status == "refused" else f", seed{'s' * (len(records) > 1)} {seeds} of {row.label}"
    # Refusals come from the plan: nothing ran, so there is no log to read.
    logs = sorted({record.log for record in records if record.log and status != "refused"})
    pointer = f" (log: {', '.join(logs)})" if logs else ""
    return f"{status}{where}: {reason}{pointer}"


def dash(row: Row, footnotes: Footnotes) -> str:
    """Return what replaces a missing number: a dash, the status unless it is a refusal, and the footnote."""
    word = "" if row.status == "refused" else f" {row.status}"
    return f"{DASH}{word} {footnotes.of(row)}"
