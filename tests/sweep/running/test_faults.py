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
