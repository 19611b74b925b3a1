"""How numbers and names are written."""

from __future__ import annotations

import pytest

from bench.report.numbers import budget_name, code, count, duration, escape, interval, markdown_table, plain, points, superscript
from bench.report.rows import MeanAccuracy


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (14.2, "14 s"), (60, "1.0 min"), (5400, "1.5 h"), (86400 * 3, "3.0 d"), (None, "")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(4096.0, "4,096"), (0, "0"), (12.5, "12.5"), (None, "")])
def test_count(value, text):
    assert count(value) == text


@pytest.mark.parametrize(("difference", "text"), [(0.1234, "+12.3"), (-0.05, "-5.0"), (0.0, "0.0"), (-0.0001, "0.0")])
def test_points(difference, text):
    assert points(difference) == text


@pytest.mark.parametrize(("value", "text"), [(0.1 + 0.2, "0.3"), (0.8965, "0.8965"), (50.0, "50"), (None, "")])
def test_plain(value, text):
    assert plain(value) == text


def test_interval():
    assert interval(MeanAccuracy(0.6123, 0.0125, 3, 5)) == "61.2 ± 1.2"
    assert interval(MeanAccuracy(0.6123, None, 1, 1)) == "61.2"
    assert interval(None) == ""


def test_budget_name():
    assert budget_name(9180, 9180 / 10240) == "0.8965 IPC (9,180 px)"
    assert budget_name(192, None) == "192 px"


def test_superscript():
    assert superscript(120) == "¹²⁰"


def test_free_text_cannot_break_a_table():
    assert escape("a|b\n*c* `d` <e> [f](g)") == "a\\|b \\*c\\* 'd' &lt;e> \\[f](g)"
    assert code("x|y`z") == "`x\\|y'z`"


def test_numbers_in_tables_stay_as_they_are_written():
    table = markdown_table(["a", "b"], [["x", "0.30"], ["y", "1e5"], ["z", ""]])
    assert [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]] == ["x", "0.30"]
    assert [cell.strip() for cell in table.splitlines()[3].split("|")[1:-1]] == ["y", "1e5"]
