"""Methods that misbehave fail their own cells, with the right status, and nobody else's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Sweep = Callable[..., Any]


@pytest.mark.parametrize(
    ("behave", "status", "reason"),
    [
        ("raise", "failed", "this method always breaks"),
        ("exit", "failed", "exit code 137"),
        ("sysexit", "failed", "SystemExit"),
        ("memory", "oom", "out of memory"),
        ("allocate", "oom", "out of memory"),
        ("over", "rejected", "allows 128"),
        ("nan", "rejected", "finite"),
        ("nan_recipe", "rejected", "lr"),
    ],
)
def test_a_misbehaving_method_gets_its_status(sweep: Sweep, behave: str, status: str, reason: str) -> None:
    done = sweep("--methods", f"toy_mean[behave={behave}],toy_mean")
    assert done.code == 3
    records = {record.cell.variant: record for record in done.records}
    assert records[""].status == "ok"
    bad = records[f"behave={behave}"]
    assert bad.status == status
    assert reason in bad.reason
    assert bad.scores == {}
    assert (done.store.out / bad.log).is_file()
    assert f"{status}: toy_mean[behave={behave}]" in done.out
    assert (done.store.out / "leaderboard.md").is_file()
    if behave == "raise":
        assert "RuntimeError: this method always breaks" in bad.traceback
        cached = sweep("--methods", f"toy_mean[behave={behave}],toy_mean")
        assert cached.code == 3
        assert "nothing to run" in cached.out
        again = sweep("--methods", f"toy_mean[behave={behave}],toy_mean", "--rerun", "failed")
        assert "1 cell to run" in again.out


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] if Path("/proc").is_dir() else True


def gone(pid: int, patience: float = 5.0) -> bool:
    deadline = time.monotonic() + patience
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_a_timeout_ends_the_cell_with_everything_it_started(sweep: Sweep, tmp_path: Path) -> None:
    note = tmp_path / "note"
    done = sweep("--methods", f"toy_mean[behave=sleep,note={note}]", "--timeout", "3")
    assert done.code == 3
    assert done.record.status == "timeout"
    assert "longer than 3 s" in done.record.reason
    cell, child = (int(line.split()[1]) for line in note.read_text().splitlines())
    assert gone(cell)
    assert gone(child)


def test_what_there_was_when_the_time_ran_out_is_judged_if_that_is_asked_for(sweep: Sweep) -> None:
    flags = ("--methods", "toy_walk[pause=1.5]", "--split", "paper", "--timeout", "6", "--keep-on-timeout")
    done = sweep(*flags)
    assert done.code == 3
    record = done.record
    reached = record.distil["outer_steps"]
    assert record.status == "timeout"
    assert 1 <= reached < 6
    assert record.reason == f"stage distil took longer than 6 s; the set after {reached} of 6 outer steps was judged"
    assert record.scores["final"]["test"]
    assert record.distil["seconds"] <= 6.5
    # It is nobody's finished set, and the cell stays as it is until it is told to go on.
    assert done.store.set_info(record.distil_key) is not None
    whole_key = record.distil_key.partition("-kept-")[0]
    assert whole_key != record.distil_key
    assert done.store.set_info(whole_key) is None
    assert sweep(*flags).record == record
    again = sweep(*flags[:-3], "--timeout", "60", "--rerun", "timeout")
    assert (again.code, again.record.status, again.record.distil_key) == (0, "ok", whole_key)
    assert [path.name for path in (done.store.out / "sets").iterdir()] == [whole_key]


def test_a_method_that_offered_nothing_has_timed_out_and_no_more(sweep: Sweep) -> None:
    done = sweep("--methods", "toy_mean[pause=2]", "--timeout", "3", "--keep-on-timeout")
    assert (done.code, done.record.status, done.record.scores) == (3, "timeout", {})
    assert done.record.reason == "stage distil took longer than 3 s; nothing of it was judged: the method had offered no set by then"
