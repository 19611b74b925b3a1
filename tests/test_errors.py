"""Errors a user can cause are one line, whatever they quote."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from bench import BenchError
from bench.errors import shorten, unknown_name


@given(st.text(st.characters()))
@example("a\ud800b")
@example("two\nlines\x00\x1b[31m")
def test_a_sentence_is_one_line_that_can_be_printed(text: str) -> None:
    assert str(BenchError(f"found '{text}'")).isprintable()
    assert str(unknown_name("method", text, ["podd"])).isprintable()


def test_lines_of_what_is_quoted_are_joined_and_letters_of_all_languages_kept() -> None:
    assert str(BenchError("broken:\n  über ☃\n\n  last\tline")) == "broken: über ☃ last\\tline"


def test_a_long_value_is_shown_in_part() -> None:
    assert shorten([1, "a"]) == "[1, 'a']"
    assert shorten("x" * 5000) == "'" + "x" * 59 + "..."
    assert shorten(10**5000) == "a huge int"
