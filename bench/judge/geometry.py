"""The rule for ``config()``: sizes, counts and class orders are free, numbers beyond them are charged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import RejectedSet

_FREE_NUMBERS = 32
_FREE_ORDERS = 2
_MAX_INTEGER = 2**31
_MAX_STRING = 64
_MAX_TEXT = 1024


def surplus_numbers(config: Any, classes: int) -> int:
    """Count the numbers of a config that must be paid for.

    Free are 32 numbers and, beside them, two permutations of 0..n-1 with n at most ``classes``, nested or not.

    Raises:
        RejectedSet: an integer of 2^31 or more, a long text, or something that is not plain JSON.
    """
    orders, numbers, text = 0, 0, 0
    for value in _parts(config):
        if isinstance(value, list):
            if orders < _FREE_ORDERS and len(value) <= classes:
                orders += 1
            else:
                numbers += len(value)
        elif isinstance(value, str):
            text += len(value)
            if len(value) > _MAX_STRING or text > _MAX_TEXT:
                long = len(value) if len(value) > _MAX_STRING else text
                raise RejectedSet(f"the config holds a text of {long} characters; it is for sizes and counts")
        elif value is not None:
            numbers += 1
            if type(value) is int and abs(value) >= _MAX_INTEGER:
                raise RejectedSet("the config holds a whole number of 2^31 or more; content belongs into tensors, where it is counted")
    return max(0, numbers - _FREE_NUMBERS)


def _parts(value: Any) -> Iterator[list[int] | str | float | None]:
    """Yield the leaves of a config; a permutation of more than two numbers comes as one list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _parts(item)
    elif isinstance(value, (list, tuple)):
        leaves = list(_flat(value))
        # ``type`` and not ``isinstance``, for which True is an int.
        if len(leaves) > 2 and all(type(leaf) is int for leaf in leaves) and sorted(leaves) == list(range(len(leaves))):
            yield leaves
        else:
            for item in value:
                yield from _parts(item)
    elif value is None or isinstance(value, (str, bool, int, float)):
        yield value
    else:
        raise RejectedSet(f"the config holds a {type(value).__name__}; it is for plain sizes and counts")


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield value
