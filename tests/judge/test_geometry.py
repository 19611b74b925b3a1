"""What a config may hold for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from bench import RejectedSet
from bench.judge.geometry import surplus_numbers


@pytest.mark.parametrize(
    ("config", "surplus"),
    [
        ({}, 0),
        ({"count": 10, "size": [8, 8], "labels": "order"}, 0),
        ({"numbers": [0.5] * 32}, 0),
        ({"numbers": [0.5] * 33}, 1),
        ({"a": [1] * 20, "b": {"c": [2.5] * 20, "d": True}}, 9),
        ({"order": list(range(100))[::-1]}, 0),
        ({"order": [[3, 1, 2], [0, 5, 4]], "more": [0.5] * 32}, 0),
        ({"one": list(range(40)), "two": list(range(40)), "three": list(range(40))}, 8),
        ({"order": list(range(101))}, 101 - 32),
        ({"order": [*range(99), 98]}, 100 - 32),
        ({"order": [float(n) for n in range(40)]}, 8),
        ({"nothing": None}, 0),
    ],
)
def test_numbers_beyond_geometry_are_counted(config: dict[str, Any], surplus: int) -> None:
    assert surplus_numbers(config, classes=100) == surplus


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"count": 2**31}, "2\\^31 or more"),
        ({"count": [-(2**40)]}, "2\\^31 or more"),
        ({"text": "x" * 65}, "65 characters"),
        ({"k" * 65: 1}, "65 characters"),
        ({f"key {n}": "x" * 60 for n in range(20)}, "characters"),
        ({"set": {1, 2}}, "holds a set"),
    ],
)
def test_content_in_a_config_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(RejectedSet, match=words):
        surplus_numbers(config, classes=100)
