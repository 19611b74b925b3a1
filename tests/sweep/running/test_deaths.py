"""Processes that are killed from outside: those of cells, and the server that starts them. The sweep goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.sweep import run
from bench.sweep.running.pool import LocalPool

Sweep = Callable[..., Any]

SILENCE = 1.0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server be replaced after a second."""
    monkeypatch.setattr(run, "make_pool", lambda jobs, timeout, devices: LocalPool(jobs, timeout, devices, silence=SILENCE))


def distillations(note: Path) -> int:
    return sum(not line.startswith("child") for line in note.read_text().splitlines())


@pytest.fixture
def behaving(sweep: Sweep, tmp_path: Path) -> Callable[..., tuple[Any, int]]:
    """Run the toy method with a behaviour; return how the sweep ended, and how often the cell distilled."""

    def behave(how: str, *flags: str) -> tuple[Any, int]:
        note = tmp_path / "note"
        done = sweep("--methods", f"toy_mean[behave={how},note={note}]", *flags)
        return done, distillations(note)

    return behave


Behaving = Callable[..., tuple[Any, int]]


def test_a_cell_that_is_killed_once_runs_once_more_and_says_so(behaving: Behaving) -> None:
    done, times = behaving("killed_once")
    assert (done.code, done.record.status, times) == (0, "ok", 2)
    assert "distil runs once more, its process was ended by signal 9 (SIGKILL)" in done.out


def test_a_cell_that_is_killed_twice_has_failed_and_its_record_says_that_it_was_tried_again(behaving: Behaving) -> None:
    done, times = behaving("killed")
    assert (done.code, done.record.status, times) == (3, "failed", 2)
    assert done.record.reason == ("its process was ended by signal 9 (SIGKILL); it was run once more after the same had happened before")


def test_a_cell_that_crashes_by_itself_has_failed_at_once(behaving: Behaving) -> None:
    done, times = behaving("segfault")
    assert (done.code, done.record.status, times) == (3, "failed", 1)
    assert done.record.reason == "its process was ended by signal 11 (SIGSEGV)"


def test_a_cell_outlives_the_server_it_was_forked_from(behaving: Behaving) -> None:
    done, times = behaving("server_dies")
    assert (done.code, done.record.status, times) == (0, "ok", 1)
    assert "Traceback" not in done.err


def test_a_cell_that_dies_with_its_server_runs_again(behaving: Behaving) -> None:
    done, times = behaving("dies_with_server")
    assert (done.code, done.record.status, times) == (0, "ok", 2)


@pytest.mark.slow
def test_a_cell_that_always_takes_the_server_along_fails_in_the_end(behaving: Behaving) -> None:
    done, times = behaving("always_dies_with_server")
    assert (done.code, done.record.status, times) == (3, "failed", 3)
    assert done.record.reason == "its process ended together with the server that had started it, 3 times"


@pytest.mark.usefixtures("impatient")
def test_a_stopped_server_is_replaced_when_it_does_not_start_the_next_stage(behaving: Behaving) -> None:
    done, times = behaving("server_stops")
    assert (done.code, done.record.status, times) == (0, "ok", 1)


@pytest.mark.usefixtures("impatient")
def test_a_stopped_server_is_replaced_when_it_does_not_tell_of_a_death(behaving: Behaving) -> None:
    done, times = behaving("stops_server_and_dies")
    assert (done.code, done.record.status, times) == (0, "ok", 2)


@pytest.mark.usefixtures("impatient")
def test_a_timeout_ends_a_cell_whose_server_is_stopped_and_the_others_go_on(behaving: Behaving) -> None:
    done, _ = behaving("stops_server_and_sleeps", "--timeout", "2", "--seeds", "2", "--jobs", "1")
    assert done.code == 3
    assert sorted(record.status for record in done.records) == ["ok", "timeout"]
