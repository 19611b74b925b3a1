"""JSON: equal content, equal key; readable files; anything that is not plain JSON is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.keys import canonical_json, digest, plain, readable_json

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12
)


@given(values)
def test_it_is_json_with_the_same_content(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(max_size=6), scalars, min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert digest(value) == digest(backwards)


@given(st.integers(-(2**52), 2**52))
def test_a_whole_float_is_the_integer(number: int) -> None:
    assert digest({"budget": number}) == digest({"budget": float(number)})


def test_what_differs_has_another_key() -> None:
    values = [None, True, False, 0, 1, 0.5, "1", "true", "", [], {}, [1], {"a": 1}, [[1]], {"a": [1]}]
    assert len({digest(value) for value in values}) == len(values)


def test_tuples_are_lists_and_digests_have_the_length_asked_for() -> None:
    assert digest((1, 2)) == digest([1, 2])
    assert len(digest("x", 10)) == 10
    assert digest("x").startswith(digest("x", 10))


def test_a_known_digest_stays() -> None:
    # Every key on a user's disk depends on this function; a change of it must be noticed.
    assert digest({"seed": 0, "budget": 0.3, "name": "é"}, 16) == "9af75db216c627f6"


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_numbers_that_are_not_finite_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="cannot hold the number"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: 2}, {1, 2}, b"x", np.float64(1.0), np.int64(1), torch.tensor(1), object()])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_readable_text_is_sorted_has_lines_and_ends_with_one() -> None:
    assert readable_json({"b": (1, 0.5), "a": "é"}) == '{\n "a": "\\u00e9",\n "b": [\n  1,\n  0.5\n ]\n}\n'


@given(values)
def test_readable_text_keeps_the_content(value: object) -> None:
    assert json.loads(readable_json(value)) == value


@given(values)
def test_plain_values_are_what_a_file_would_give_back(value: object) -> None:
    assert plain(value) == json.loads(readable_json(value)) == value


def test_plain_turns_tuples_into_lists_all_through_and_copies() -> None:
    inner = [1]
    found = plain({"a": (1, (2.0, inner))})
    assert found == {"a": [1, [2.0, [1]]]}
    inner.append(2)
    assert found == {"a": [1, [2.0, [1]]]}


@pytest.mark.parametrize("convert", [readable_json, plain])
def test_no_file_and_no_record_holds_nan_or_a_foreign_type(convert: Callable[[object], object]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        convert({"accuracy": math.nan})
    with pytest.raises(TypeError, match="not JSON serializable"):
        convert([torch.tensor(1)])
