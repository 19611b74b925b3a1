"""Paths as people type them: what cannot be one is a sentence, wherever it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, settings
from bench.cli import main
from bench.data import default_data_root
from bench.paths import read_path
from bench.sweep.readers import default_out

IMPOSSIBLE = {"a user without a home": "~nouser", "NUL": "a\0b", "a long name": "a" * 5000, "no text": "a\udcff", "blank": " "}


@pytest.mark.parametrize("text", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("name", ["plugin", "data_root", "config"])
def test_a_setting_that_cannot_be_a_path_is_refused(name: str, text: str) -> None:
    with pytest.raises(BenchError, match=f"{name} .*(cannot be a path: .*; give it another one|is empty)"):
        settings(**{name: [text] if name == "plugin" else text})


@pytest.mark.parametrize("text", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize(
    "command",
    [
        ["--out"],
        ["--config"],
        ["--plugin"],
        ["--data-root"],
        ["list", "--plugin"],
        ["list", "--data-root"],
        ["report", "--out"],
        ["show", "abc", "--out"],
        ["new", "method", "mine", "--into"],
    ],
    ids=" ".join,
)
def test_a_flag_that_cannot_be_a_path_ends_with_exit_code_2(
    command: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*command, text]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert command[-1].lstrip("-") in said


def test_an_environment_variable_that_cannot_be_a_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDBENCH_OUT", "~nouser/results")
    with pytest.raises(BenchError, match="DDBENCH_OUT '~nouser/results' cannot be a path"):
        default_out()
    monkeypatch.setenv("DDBENCH_DATA", "~nouser/data")
    with pytest.raises(BenchError, match="DDBENCH_DATA '~nouser/data' cannot be a path"):
        default_data_root()


def test_a_variable_that_is_not_set_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DDBENCH_OUT", raising=False)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(BenchError, match="the default of --out 'results' cannot be a path"):
        default_out()


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(BenchError, match="cannot be a path"):
        read_path(tmp_path / "a" / "c", "--out")


def test_what_can_be_one_is_taken_as_it_is(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "file" / "not" / "there", Path("results"), tmp_path / "über ☃"):
        assert read_path(str(path), "--out") == path
    assert read_path("~/results", "--out") == Path.home() / "results"


@given(st.text(st.characters()))
def test_any_text_is_a_path_or_one_sentence(text: str) -> None:
    try:
        found = read_path(text, "--out")
    except BenchError:
        return
    found.resolve()
