from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench.cli import progress
from bench.cli.progress import Bars, Countdown, Progress
from bench.record import Cell
from bench.sweep.planning.estimate import Estimate
from bench.sweep.running.executor import Job
from bench.sweep.running.stage import Outcome, Payload

CELL = Cell("contestant", "digits", "0", "dev", "podd", "", 1, {}, {"requested": "0.3", "pixels": 192, "ipc": 0.3}, 1, 1.0, {})
JOB = Job("k", ("distil", "judge"), Payload("k", "out", "data", CELL))
NEEDED = Job("p", ("prerequisite",), Payload("p", "out", "data", prerequisite={"name": "whitening", "dataset": "digits"}))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def make(kind: type[Progress] = Progress) -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    countdown = Countdown({"k": Estimate(10.0, 0.0, "records"), "other": Estimate(30.0, 0.0, "records")})
    return kind(60, 11, countdown, out), out


def test_the_line_of_a_finished_cell(clock: Callable[[float], None]) -> None:
    shown, out = make()
    with shown:
        shown.stage_started(JOB, "distil")
        clock(20.0)
        shown.finished(JOB, Outcome("ok", seconds={"distil": 12.0, "judge": 2.0}, accuracy=0.612))
    # 10 of the 40 estimated seconds took 20, so the other 30 will take 60.
    assert out.getvalue() == "[12/60] podd digits 0.3 seed 1: ok 61.2 % (14 s), about 60 s left\n"


def test_a_prerequisite_is_told_and_not_counted_as_a_cell(clock: Callable[[float], None]) -> None:
    shown, out = make()
    shown.stage_started(NEEDED, "prerequisite")
    clock(40.0)
    shown.progressed(NEEDED, "prerequisite", 1, 4, {})
    shown.finished(NEEDED, Outcome("ok", seconds={"prerequisite": 3.0}))
    assert out.getvalue().splitlines() == [
        "[11/60] prerequisite whitening digits: prerequisite 1/4",
        "[11/60] prerequisite whitening digits: ok (3 s)",
    ]


def test_a_stage_of_which_no_estimate_knows_leaves_the_countdown_alone(clock: Callable[[float], None]) -> None:
    countdown = Countdown({"k": Estimate(30.0, 10.0, "records")})
    countdown.progressed("k", "distil", 1.0)
    clock(15.0)
    left = countdown.left()
    countdown.progressed("k", "decode", 0.5)
    assert countdown.left() == left


def test_the_line_of_a_failed_cell(clock: Callable[[float], None]) -> None:
    shown, out = make()
    shown.finished(JOB, Outcome("timeout", "stage distil took longer than 3 s", seconds={"distil": 3.0}))
    assert "timeout: stage distil took longer than 3 s (3 s)" in out.getvalue()


def test_a_cell_on_its_way_counts_for_the_time_that_is_left(clock: Callable[[float], None]) -> None:
    countdown = Countdown({"k": Estimate(30.0, 10.0, "records"), "other": Estimate(40.0, None, "arithmetic")})
    assert countdown.left() is None
    clock(15.0)
    countdown.progressed("k", "distil", 0.5)
    assert countdown.left() == pytest.approx(65.0)  # 15 of 80 estimated seconds took 15
    clock(20.0)
    countdown.progressed("k", "judge", 0.5)
    assert countdown.left() == pytest.approx(45.0)


def test_no_time_is_named_while_cells_do_what_no_estimate_knows(clock: Callable[[float], None]) -> None:
    out = io.StringIO()
    shown = Progress(60, 11, Countdown({"k": Estimate(10.0, None, "arithmetic")}), out)
    clock(20.0)
    shown.progressed(JOB, "judge", 1, 100, {})
    shown.finished(JOB, Outcome("ok", seconds={"judge": 2.0}, accuracy=0.5))
    assert "left" not in out.getvalue()


def test_an_interrupted_cell_is_not_counted_as_done(clock: Callable[[float], None]) -> None:
    shown, out = make()
    clock(5.0)
    shown.finished(JOB, Outcome("interrupted", "the run was stopped in stage distil", seconds={"distil": 5.0}))
    assert out.getvalue() == "[11/60] podd digits 0.3 seed 1: interrupted: the run was stopped in stage distil (5 s)\n"


def test_a_cell_speaks_at_most_every_half_minute(clock: Callable[[float], None]) -> None:
    shown, out = make()
    shown.stage_started(JOB, "distil")
    for step in range(90):
        clock(1.0)
        shown.progressed(JOB, "distil", step, 100, {"loss": 0.5})
    assert out.getvalue().splitlines() == [f"[11/60] podd digits 0.3 seed 1: distil {step}/100, loss 0.5" for step in (29, 59, 89)]


def test_bars_print_the_same_lines_and_survive_markup() -> None:
    shown, out = make(Bars)
    job = replace(JOB, payload=replace(JOB.payload, cell=replace(CELL, variant="order=[bold]")))
    with shown:
        shown.stage_started(NEEDED, "prerequisite")
        shown.progressed(NEEDED, "prerequisite", 1, 2, {})
        shown.finished(NEEDED, Outcome("ok", seconds={"prerequisite": 2.0}))
        shown.stage_started(job, "distil")
        shown.progressed(job, "distil", 1, 2, {"loss": 0.5})
        shown.stage_started(job, "judge")
        shown.finished(job, Outcome("ok", seconds={"judge": 2.0}, accuracy=0.5))
    assert "[11/60] prerequisite whitening digits: ok (2 s)" in out.getvalue()
    assert "podd[order=[bold]] digits 0.3 seed 1: ok 50.0 % (2 s)" in out.getvalue()
