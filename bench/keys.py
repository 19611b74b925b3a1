"""Canonical JSON and its digest: equal content gives an equal key, whatever the order or spelling of numbers."""

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
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if type(value) is int:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"a key cannot hold the number {value}")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys of a canonical mapping must be strings, found {sorted(map(repr, value))}")
        return {key: _plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is not plain JSON and cannot be part of a key: {value!r}")


def digest(value: Any, length: int = 24) -> str:
    """Return the first ``length`` hexadecimal digits of the SHA-256 of ``canonical_json(value)``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]
