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

CONFIDENCE = 0.95
LEVEL = 1.0 - CONFIDENCE

#: Below this many equal seeds two methods are not compared at all.
MIN_SEEDS = 3

#: Spreads below this are rounding of sums, not variation of an accuracy.
_ROUNDING = 1e-12


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of at least two values; 0.0 where they agree up to rounding."""
    centre = mean(values)
    deviation = math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
    return 0.0 if deviation <= _ROUNDING else deviation / math.sqrt(len(values))


def t_half_width(values: Sequence[float]) -> float | None:
    """Return half the width of the 95 % t-interval of a mean, or ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    return float(stdtrit(len(values) - 1, 1.0 - LEVEL / 2)) * standard_error(values)


def paired_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of a t-test that paired differences have mean zero.

    Differences without any spread are decided by their mean alone: 1.0 where it is zero, else 0.0.

    Args:
        differences: one per seed, at least two.
    """
    centre, error = mean(differences), standard_error(differences)
    if error == 0.0:
        return 1.0 if abs(centre) <= _ROUNDING else 0.0
    return min(1.0, 2.0 * float(stdtr(len(differences) - 1, -abs(centre) / error)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values (step-down, family-wise), in the order given."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def sampling_error(accuracy: float, n_test: int) -> float:
    """Return the standard error of an accuracy that comes from the test set being a sample of ``n_test`` images."""
    return math.sqrt(accuracy * (1.0 - accuracy) / n_test)
