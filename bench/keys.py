"""JSON in its three uses: canonical text and its digest for keys, readable text for files, plain values for records."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


def canonical_json(value: Any) -> str:
    """Serialise ``value`` so that equal content gives equal text.

    Keys are sorted, there is no white space, and a float that is a whole number is written as an integer, so that
    ``budget: 1`` from a YAML file and ``1.0`` from the command line are the same cell.

    Raises:
        TypeError: a value is not plain JSON (a numpy scalar, a tensor, a set, ...).
        ValueError: a number is not finite.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if type(value) is int:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"a key cannot hold the number {value}")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys of a canonical mapping must be strings, found {sorted(map(repr, value))}")
        return {key: _canonical(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is not plain JSON and cannot be part of a key: {value!r}")


def digest(value: Any, length: int = 24) -> str:
    """Return the first ``length`` hexadecimal digits of the SHA-256 of ``canonical_json(value)``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def readable_json(value: Any) -> str:
    """Return the text of a JSON file as people read and compare it: sorted keys, one value a line, a line end at the end.

    Raises:
        TypeError: a value is not plain JSON.
        ValueError: a number is not finite; no file of the suite holds NaN.
    """
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Return ``value`` as a JSON file would give it back: a copy in which tuples are lists.

    Raises:
        TypeError: a value is not plain JSON.
        ValueError: a number is not finite.
    """
    return json.loads(json.dumps(value, allow_nan=False))
