"""YAML as people write it: plain values come out, and everything else is one sentence."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench import BenchError
from bench.yaml_text import read_yaml, read_yaml_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1.5e+2", 150.0),
        (".5", 0.5),
        ("-2.", -2.0),
        (".inf", math.inf),
        ("10", 10),
        ("010", 10),
        ("08", 8),
        ("-7", -7),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("153x60", "153x60"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("3px", "3px"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    found = read_yaml(text, "here")
    assert found == value
    assert type(found) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_a_float(number: float) -> None:
    assert read_yaml(repr(number), "here") == number


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", "here:3 is not valid YAML: key 'a' appears twice"),
        ("x:\n  lr: 1\n  lr: 1", "here:3 .*appears twice"),
        ("a: [1, 2", "here:1 is not valid YAML"),
        ("? [1, 2]\n: 3", "cannot be a key"),
        ("!!int abc", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: b: c", "here:1 is not valid YAML"),
        ("!!timestamp x", "here:1 is not valid YAML: the tag !!timestamp is not read"),
        ("!!timestamp 2024-01-01", "the tag !!timestamp is not read"),
        ("!!binary aGFsbG8=", "the tag !!binary is not read"),
        ("!!set {a, b}", "the tag !!set is not read"),
        ("!!omap [a: 1]", "the tag !!omap is not read"),
        ("!mine x", "the tag !mine is not read"),
        ("!!map x", "a mapping was announced"),
        ("!!bool maybe", "'maybe' is neither true nor false"),
        ("!!float x", "'x' is not a number"),
        ("9" * 5000, "a number of 5000 characters"),
        ("[" * 3000, "more than 40 lists or mappings"),
        ("{a: " * 3000, "more than 40 lists or mappings"),
        ("- " * 3000 + "x", "more than 40 lists or mappings"),
        ("a: &a [1]\nb: *a", "here:2 is not valid YAML: an alias is not followed; write the value out"),
        ("a: &a [*a]", "an alias is not followed"),
        ('"\\ud800"', "the character '.ud800', which no text has"),
        ('"\\0"', "the character '.x00', which no text has"),
        ("a\0b", "special characters are not allowed"),
        ('"\\UFFFFFFFF"', "not valid YAML"),
    ],
)
def test_broken_yaml_names_the_file_and_the_line(text: str, complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        read_yaml(text, "here")


def test_a_word_is_a_word_whatever_yaml_makes_of_it_elsewhere() -> None:
    assert read_yaml("{a: =, <<: 2024-01-01, y: n}", "here") == {"a": "=", "<<": "2024-01-01", "y": "n"}


@given(st.text() | st.text(alphabet="[]{}:,-?!&*#|>'\"%@` \n\tabx019.~"))
@example("!!str [a]")
@example("\ufeffa: 1")
def test_any_text_is_plain_values_or_one_sentence(text: str) -> None:
    found: object = None
    with suppress(BenchError):  # whose text is always one line, see tests/test_errors.py
        found = read_yaml(text, "here")
    json.dumps(found).encode()


def test_a_pipe_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    for name, complaint in (("pipe", "it is not a regular file"), ("noise", "it is not text"), ("absent", "No such file")):
        with pytest.raises(BenchError, match=f"config file '.*{name}' cannot be read: {complaint}"):
            read_yaml_file(tmp_path / name, "config file")
