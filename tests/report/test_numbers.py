"""How numbers and names are written."""

from __future__ import annotations

import math

import pytest
from report.records import make_record, row_of, seeds

from bench.report.numbers import (
    accuracy,
    budget_name,
    code,
    count,
    duration,
    escape,
    markdown_table,
    percent,
    plain,
    points,
    shortened,
    size_of,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (14.2, "14 s"), (60, "1.0 min"), (5400, "1.5 h"), (86400 * 3, "3.0 d"), (math.nan, "")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(4096.0, "4,096"), (0, "0"), (12.5, "12.5"), (math.nan, "")])
def test_count(value, text):
    assert count(value) == text


@pytest.mark.parametrize(("difference", "text"), [(0.1234, "+12.3"), (-0.05, "-5.0"), (0.0, "0.0"), (-0.0001, "0.0"), (math.nan, "")])
def test_points(difference, text):
    assert points(difference) == text


@pytest.mark.parametrize(("value", "text"), [(0.1 + 0.2, "0.3"), (0.8965, "0.8965"), (50.0, "50"), (math.nan, "")])
def test_plain(value, text):
    assert plain(value) == text


def test_an_accuracy_shows_its_interval_or_the_two_values_that_are_too_few_for_one():
    # deviation 0.01, t(2, 97.5 %) = 4.3027: half width 0.0248
    assert accuracy(row_of(seeds([0.60, 0.61, 0.62]))) == "61.0 ± 2.5"
    assert accuracy(row_of(seeds([0.60, 0.65]))) == "62.5 (60.0, 65.0)"
    assert accuracy(row_of(seeds([0.6]))) == "60.0"
    assert accuracy(row_of([make_record(status="failed")])) == ""
    assert percent(math.nan) == ""


def test_size():
    assert size_of(row_of(seeds([0.6, 0.7, 0.8]))) == "3 × 2"
    assert size_of(row_of([*seeds([0.6]), make_record([0.5], cell=seeds([0.1, 0.2])[1].cell)])) == "2 × ?"
    assert size_of(row_of([make_record(status="failed")])) == ""


def test_budget_name():
    assert budget_name(9180, 9180 / 10240) == "0.8965 IPC (9,180 px)"
    assert budget_name(192, math.nan) == "192 px"


def test_what_is_cut_shows_it():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"


def test_free_text_cannot_break_a_table():
    assert escape("a|b\n*c* `d` <e> [f](g)") == "a\\|b \\*c\\* 'd' &lt;e> \\[f](g)"
    assert code("x|y`z") == "`x\\|y'z`"


def test_numbers_in_tables_stay_as_they_are_written():
    table = markdown_table([{"a": "x", "b": "0.30"}, {"a": "y", "b": "1e5"}, {"a": "z", "b": ""}])
    assert [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]] == ["x", "0.30"]
    assert [cell.strip() for cell in table.splitlines()[3].split("|")[1:-1]] == ["y", "1e5"]


def test_a_column_without_any_text_is_left_out_unless_it_is_to_be_kept():
    rows = [{"a": "x", "b": "", "c": "1"}]
    assert markdown_table(rows).splitlines()[0].split() == ["|", "a", "|", "c", "|"]
    assert markdown_table(rows, keep=True).splitlines()[0].split() == ["|", "a", "|", "b", "|", "c", "|"]
