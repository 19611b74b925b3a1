from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench import BenchError
from bench.brackets import parse_requests, split_list, write_value


def parse(text: str) -> list[tuple[str, str, dict[str, object]]]:
    return [(s.name, s.variant, dict(s.fields)) for s in parse_requests(split_list(text, "--methods"))]


def test_names_alone() -> None:
    assert parse("podd, rat_bptt") == [("podd", "", {}), ("rat_bptt", "", {})]


def test_brackets_hold_fields_and_their_commas() -> None:
    assert parse("podd[order=random,labels=fixed],rat_bptt") == [
        ("podd", "order=random,labels=fixed", {"order": "random", "labels": "fixed"}),
        ("rat_bptt", "", {}),
    ]


def test_a_grid_is_the_product_of_its_axes() -> None:
    found = parse("a[x=[1,2],y=z,w=[true,0.5]]")
    assert [variant for _, variant, _ in found] == ["x=1,y=z,w=true", "x=1,y=z,w=0.5", "x=2,y=z,w=true", "x=2,y=z,w=0.5"]
    assert found[-1][2] == {"x": 2, "y": "z", "w": 0.5}


def test_a_list_in_a_grid_is_a_value() -> None:
    assert parse("a[size=[[8,8]]]") == [("a", "size=[[8,8]]", {"size": [8, 8]})]


def test_values_follow_the_rules_of_yaml() -> None:
    assert parse("a[u=1e-3,v=no,w='1',x=153x60,y=true]")[0][2] == {"u": 0.001, "v": "no", "w": "1", "x": "153x60", "y": True}


def test_repetitions_are_one_selection() -> None:
    assert parse("a,a[x=1],a,a[x=[1,2]]") == [("a", "", {}), ("a", "x=1", {"x": 1}), ("a", "x=2", {"x": 2})]


@pytest.mark.parametrize(
    "text", ["a[x=1", "a]x[", "a,,b", "", "a[x]", "a[=1]", "a[x=]", "a[x=[]]", "a[x=1,x=2]", "a[x=1]b", "[x=1]", "a b"]
)
def test_what_cannot_be_read_is_one_sentence(text: str) -> None:
    with pytest.raises(BenchError) as error:
        parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a[x='tiles,x']", {"x": "tiles,x"}),
        ("a[x=['tiles,x']]", {"x": "tiles,x"}),
        ('a[x="it\'s, here]"]', {"x": "it's, here]"}),
        ("a[x='it''s, here']", {"x": "it's, here"}),
        ('a[x="say \\"a,b\\""]', {"x": 'say "a,b"'}),
        ("a[x=don't]", {"x": "don't"}),
        ("a[x=(4,6)]", {"x": "(4,6)"}),
        ("a[x={b: 1, c: 2}]", {"x": {"b": 1, "c": 2}}),
    ],
)
def test_commas_and_brackets_in_quotes_belong_to_the_text(text: str, fields: dict[str, object]) -> None:
    assert [found[2] for found in parse(text)] == [fields]
    assert [found[2] for found in parse(f"{text},b,{text}")] == [fields, {}]  # and hide nothing of what follows


@pytest.mark.parametrize(
    "text", ["a[x='b]", "a[x=!!timestamp x]", "a[x=" + "[" * 3000 + "]" * 3000 + "]", "a[x=" + "9" * 5000 + "]", "a[x=*b]", "a[x=(4,6]"]
)
def test_what_yaml_cannot_be_here_is_one_sentence(text: str) -> None:
    with pytest.raises(BenchError) as error:
        parse(text)
    assert len(str(error.value)) < 250


def test_grids_are_counted_before_they_are_made() -> None:
    axis = f"[{','.join(map(str, range(1000)))}]"
    with pytest.raises(BenchError, match="asks for 1,000,000,000 cells; one run has at most 100,000, so ask for less"):
        parse(f"a[x={axis},y={axis},z={axis}]")
    assert len(parse(f"a[x={axis}]")) == 1000


words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20)
values = st.recursive(
    words | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(values)
@example("1")
@example("true")
@example("a#b #c")
@example("x,y='z")
@example("(a")
def test_a_value_is_written_so_that_it_is_read_back(value: object) -> None:
    typed = f"name[field={write_value(value)},other=1]"
    assert parse(f"first,{typed},last")[1][2] == {"field": value, "other": 1}


@given(st.text(st.characters()) | st.text(alphabet="ab[]{}()=,'\"!&*: \\\n1.", max_size=30))
def test_any_text_is_requests_or_one_sentence(text: str) -> None:
    with suppress(BenchError):
        for request in parse_requests(split_list(text, "--methods")):
            assert parse_requests(split_list(request.label, "--methods")) == (request,)
