"""The few statistics of the tables: t-intervals, paired t-tests, Holm's correction, test-sampling error.

The unit of replication is the distillation seed. Students of one distilled set share that set, so they are averaged
before anything else is computed. Bootstraps are not used: with 3 seeds their 95 % interval covers about 73 %. Neither
are sign-flip and rank tests: below 6 seeds they cannot reach 5 %, whatever the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtr, stdtrit

from ..record import mean

LEVEL = 0.05

#: Below this many seeds there is no interval, and two methods are not compared at all.
MIN_SEEDS = 3

#: Spreads below this are rounding of sums, not variation of an accuracy.
_ROUNDING = 1e-12


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of at least two values; 0.0 where they agree up to rounding."""
    centre = mean(values)
    deviation = math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
    return 0.0 if deviation <= _ROUNDING else deviation / math.sqrt(len(values))


def t_half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % t-interval of a mean; NaN for fewer than three values, whose interval says nothing."""
    if len(values) < MIN_SEEDS:
        return math.nan
    return float(stdtrit(len(values) - 1, 1.0 - LEVEL / 2)) * standard_error(values)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % t-interval of a mean accuracy, cut to [0, 1]; NaN for fewer than three values."""
    centre, half_width = mean(values), t_half_width(values)
    return (max(0.0, centre - half_width), min(1.0, centre + half_width)) if half_width == half_width else (math.nan, math.nan)


def paired_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of a t-test that paired differences have mean zero; NaN for fewer than three.

    Differences without any spread are decided by their mean alone: 1.0 where it is zero, else 0.0.
    """
    if len(differences) < MIN_SEEDS:
        return math.nan
    centre, error = mean(differences), standard_error(differences)
    if error == 0.0:
        return 1.0 if abs(centre) <= _ROUNDING else 0.0
    return min(1.0, 2.0 * float(stdtr(len(differences) - 1, -abs(centre) / error)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values (step-down, family-wise), in the order given; NaN is no test and stays."""
    order = sorted((i for i, p in enumerate(p_values) if p == p), key=lambda i: p_values[i])
    adjusted, running = list(p_values), 0.0
    for rank, index in enumerate(order):
        adjusted[index] = running = max(running, min(1.0, (len(order) - rank) * p_values[index]))
    return adjusted


def sampling_error(accuracy: float, n_test: float) -> float:
    """Return the standard error of an accuracy that comes from the test set being a sample of ``n_test`` images."""
    return math.sqrt(accuracy * (1.0 - accuracy) / n_test)
