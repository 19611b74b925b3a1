"""What a tuner may try for a field: a range or a choice. Declared by methods and their parts as ``search``. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import BenchError

if TYPE_CHECKING:
    from scipy.stats._distn_infrastructure import rv_frozen

_MOST = 2_000  # draws, of which a small space gives the same setting many times
_DIGITS = 2  # that a drawn rate keeps: the third makes no difference, and people read the rule


@dataclass(frozen=True)
class Between:
    """Numbers of a range, evenly on a logarithmic axis.

    Attributes:
        low: smallest, above 0.
        high: largest.

    Example:
        >>> from bench import Between
        >>> Between(1e-3, 1e-1).value(0.012345)
        0.012
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ValueError: it has no logarithm, or is empty.
        """
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"a range to search goes from a number above 0 to a larger one, found {self.low} to {self.high}")

    def distribution(self) -> rv_frozen:
        """Return what it is drawn from."""
        from scipy.stats import loguniform

        return loguniform(self.low, self.high)

    def value(self, drawn: Any) -> float:
        """Return a drawn number with two digits, still in the range."""
        return min(self.high, max(self.low, float(f"{float(drawn):.{_DIGITS}g}")))


@dataclass(frozen=True)
class OneOf:
    """Some values, all equally likely.

    Attributes:
        values: plain JSON each.

    Example:
        >>> from bench import OneOf
        >>> OneOf(100, 200, 400).values
        (100, 200, 400)
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        """Take the values.

        Raises:
            ValueError: there is none.
        """
        if not values:
            raise ValueError("a choice to search needs at least one value")
        object.__setattr__(self, "values", values)

    def distribution(self) -> rv_frozen:
        """Return what the position of a value is drawn from."""
        from scipy.stats import randint

        return randint(0, len(self.values))

    def value(self, drawn: Any) -> Any:
        """Return the value at a drawn position."""
        return self.values[int(drawn)]


Search = Between | OneOf


def draw_settings(space: Mapping[str, Search], count: int, seed: int) -> list[dict[str, Any]]:
    """Draw so many settings of a space; fewer where it has no more, and each once.

    Args:
        space: field -> what to try.
        count: how many settings.
        seed: equal ones give equal settings; more settings begin with those of fewer.

    Raises:
        BenchError: there is nothing to search.
    """
    if not space:
        raise BenchError("there is nothing to search: declare search = {'field': Between(low, high)} in the method or its parts")
    from sklearn.model_selection import ParameterSampler

    drawn: dict[str, dict[str, Any]] = {}
    for setting in ParameterSampler({name: search.distribution() for name, search in space.items()}, _MOST, random_state=seed):
        values = {name: space[name].value(setting[name]) for name in space}
        drawn.setdefault(repr(values), values)
        if len(drawn) == count:
            break
    return list(drawn.values())
