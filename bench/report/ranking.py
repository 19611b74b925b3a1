"""Who is best, who is tied with the best, and how far ahead of random selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .rows import Row
from .sections import Section
from .statistics import LEVEL, MIN_SEEDS, holm, paired_p, t_half_width

Standing = Literal["best", "tied"]


def may_be_bold(row: Row) -> bool:
    """Tell whether a row takes part in the ranking: own cell, tuned, full effort, and enough seeds, all with a score."""
    return not row.same_as and row.tuned and row.effort == 1 and row.complete and len(row.scored) >= MIN_SEEDS


def standings(rows: list[Row]) -> dict[str, Standing]:
    """Find the best row of one column and those that a paired test cannot tell from it.

    The test is a two-sided paired t-test over the seeds that two rows share, with Holm's correction over all rows that
    are compared with the best. A row with fewer than three seeds in common with the best is not called tied.

    Args:
        rows: rows of one section at one budget.

    Returns:
        The identities of the best row and of those tied with it; a copy of a row under another name shares its identity.
    """
    ranked = [row for row in rows if may_be_bold(row) and row.final]
    if not ranked:
        return {}
    best = max(ranked, key=lambda row: (row.final.mean if row.final else 0.0, row.label))
    compared = [(row, differences) for row in ranked if row is not best and len(differences := _paired(best, row)) >= MIN_SEEDS]
    adjusted = holm([paired_p(differences) for _, differences in compared])
    found: dict[str, Standing] = {best.identity: "best"}
    found.update({row.identity: "tied" for (row, _), p_value in zip(compared, adjusted, strict=True) if p_value >= LEVEL})
    return found


def _paired(one: Row, other: Row) -> list[float]:
    """Return the differences of two rows on the seeds that both have."""
    return [one.by_seed[seed] - other.by_seed[seed] for seed in sorted(one.by_seed.keys() & other.by_seed.keys())]


@dataclass(frozen=True)
class Gain:
    """How far a row is ahead of the strongest random form at equal granted pixels.

    Attributes:
        difference: of the two mean accuracies, as a fraction.
        half_width: of its paired 95 % t-interval, or ``None`` where the two rows do not have the same seeds, at least two.
        over: label of the random form.
    """

    difference: float
    half_width: float | None
    over: str


def gain_over_random(section: Section, row: Row) -> Gain | None:
    """Compare a row with the reference that is strongest at its budget.

    The strongest is picked by the very accuracies it is compared with, which favours random selection a little.
    """
    if row.final is None or row.budget_px is None:
        return None
    strongest = section.strongest_reference(row.budget_px)
    if strongest is None or strongest.final is None:
        return None
    itself = strongest.identity == row.identity
    paired = row.by_seed.keys() == strongest.by_seed.keys() and not itself
    half_width = t_half_width(_paired(row, strongest)) if paired else None
    return Gain(row.final.mean - strongest.final.mean, half_width, strongest.label)
