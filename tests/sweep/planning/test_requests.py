from __future__ import annotations

import pytest

from bench import BenchError
from bench.sweep.planning.requests import parse_requests, split_list


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
