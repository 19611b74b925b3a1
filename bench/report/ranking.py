"""Who is best, who is tied with the best, and how far ahead of random selection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas

from .numbers import plain
from .statistics import LEVEL, MIN_SEEDS, holm, paired_p, t_half_width

#: What ``compared`` adds. ``p``: adjusted, of the test against the first of the column; ``standing``: ``best``, ``tied`` or empty;
#: ``unranked``: why the row takes no part, or empty; ``why``: why it is not bold though a lower one is, or empty; ``gain`` over the
#: strongest random form and its ``gain_half``.
_ADDED = ("p", "standing", "unranked", "why", "gain", "gain_half")


def compared(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Add to the rows of one section how each compares with the others at its budget."""
    added = {name: pandas.Series(index=rows.index, dtype=object) for name in _ADDED}
    columns: dict[float, list[Any]] = {}
    for row in rows.itertuples():
        if row.n_scored:
            columns.setdefault(row.budget_px, []).append(row)
    for scored in columns.values():
        _rank(scored, added)
        _gain(scored, added)
    numbers = {name: added[name].astype(float) for name in ("p", "gain", "gain_half")}
    words = {name: added[name].fillna("") for name in ("standing", "unranked", "why")}
    return rows.assign(**numbers, **words)


def unranked(row: Any) -> str:
    """Say why a row takes no part in the ranking; empty if it does: tuned, whole, enough seeds, all scored, made without val."""
    reasons = [
        f"effort {plain(row.effort)}" if row.effort != 1 else "",
        "" if row.tuned else "untuned",
        "seen val" if row.seen_val else "",
        "timed out" if row.timed_out else "",
        f"{row.n_scored} of {len(row.cells)} seeds" if row.status == "partial" else "",
        f"{row.n_scored} seed{'s' * (row.n_scored > 1)}" if row.n_scored < MIN_SEEDS and row.status != "partial" else "",
    ]
    return ", ".join(reason for reason in reasons if reason)


def _rank(scored: Sequence[Any], added: dict[str, pandas.Series]) -> None:
    """Find the best of the rows that take part, and those that a paired test cannot tell from it.

    The test is a two-sided paired t-test over the seeds that two rows share, with Holm's correction over all rows that
    are compared with the best. A row with fewer than three seeds in common with the best is not called tied.
    """
    for row in scored:
        added["unranked"][row.Index] = unranked(row)
    eligible = [row for row in scored if not unranked(row)]
    bold: list[Any] = []
    for row, p in against_first(eligible):
        added["p"][row.Index] = p
        if not bold or p >= LEVEL:
            added["standing"][row.Index] = "tied" if bold else "best"
            bold.append(row)
    for row in scored:
        if bold and row not in bold and row.accuracy > min(one.accuracy for one in bold):
            reason = unranked(row)
            added["why"][row.Index] = f"not ranked: {reason}" if reason else _told_apart(added["p"][row.Index], bold[0])


def against_first(rows: Sequence[Any]) -> list[tuple[Any, float]]:
    """Return rows from the best on, each with the adjusted p-value of its test against the best; NaN for the best itself."""
    ranked = sorted(rows, key=lambda row: (row.accuracy, row.label), reverse=True)
    p_values = holm([paired_p(differences(ranked[0], row)) for row in ranked[1:]])
    return list(zip(ranked, [math.nan, *p_values], strict=False))


def _told_apart(p: float, best: Any) -> str:
    return f"fewer than {MIN_SEEDS} seeds in common with {best.label}" if math.isnan(p) else f"below {best.label}: p = {plain(p)}"


def _gain(scored: Sequence[Any], added: dict[str, pandas.Series]) -> None:
    """Compare with the strongest random form, which is picked by these very accuracies: that favours random selection a little.

    The interval is paired, and given where both rows have the same three or more seeds.
    """
    references = [row for row in scored if row.kind == "reference"]
    for row in scored if references else ():
        strongest = max(references, key=lambda row: (row.accuracy, row.label))
        added["gain"][row.Index] = row.accuracy - strongest.accuracy
        if row.by_seed.keys() == strongest.by_seed.keys() and row is not strongest:
            added["gain_half"][row.Index] = t_half_width(differences(row, strongest))


def differences(one: Any, other: Any) -> list[float]:
    """Return the differences of two rows on the seeds that both have."""
    return [one.by_seed[seed] - other.by_seed[seed] for seed in sorted(one.by_seed.keys() & other.by_seed.keys())]
