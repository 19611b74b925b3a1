"""At which outer steps a distilled set is looked at on the way, and by how many students. Free of torch."""

from __future__ import annotations

from functools import cache

#: Points of a curve at most, and students that score each: enough to see where it bends, and a third of what the judge costs.
POINTS, STUDENTS = 8, 2


@cache  # asked at every outer step
def curve_steps(total: int) -> tuple[int, ...]:
    """Return the steps of a run of ``total`` outer steps at which its curve has a point: the first, the last and even ratios between.

    Example:
        >>> from bench.sweep.curve_steps import curve_steps
        >>> curve_steps(300), curve_steps(3)
        ((1, 2, 5, 12, 26, 59, 133, 300), (1, 2, 3))
    """
    return tuple(sorted({round(total ** (point / (POINTS - 1))) for point in range(POINTS)}))
