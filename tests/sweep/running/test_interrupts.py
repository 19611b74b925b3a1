"""The runner is killed or stopped in the middle of a cell; its children end, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.record import Record
from bench.sweep.store import Store

Start = Callable[..., "subprocess.Popen[str]"]
Sweep = Callable[..., Any]


def wait_for(condition: Callable[[], Any], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return "Z" not in state


def records(folder: Path) -> dict[str, Record]:
    return {r.cell.variant.partition(",")[0]: r for r in Store(folder).read_all()[0].values()}


def test_kill_9_takes_the_children_along_and_a_resume_repeats_nothing(start: Start, sweep: Sweep, tmp_path: Path) -> None:
    quick, slow = tmp_path / "quick", tmp_path / "slow"
    methods = f"toy_mean[take=1,note={quick}],toy_mean[take=2,note={slow},behave=sleep_once]"
    runner = start("--methods", methods, "--jobs", "2")
    wait_for(lambda: slow.exists() and "child" in slow.read_text() and records(tmp_path / "out").get("take=1"))
    cell, child = (int(line.split()[1]) for line in slow.read_text().splitlines())
    assert alive(cell)
    assert alive(child)
    runner.send_signal(signal.SIGKILL)
    runner.wait(10)
    wait_for(lambda: not alive(cell) and not alive(child), 10)
    assert list(records(tmp_path / "out")) == ["take=1"]
    assert records(tmp_path / "out")["take=1"].status == "ok"

    resumed = sweep("--methods", methods)
    assert resumed.code == 0
    assert {name: r.status for name, r in records(tmp_path / "out").items()} == {"take=1": "ok", "take=2": "ok"}
    assert len(quick.read_text().splitlines()) == 1  # the finished cell did not run again
    assert len(slow.read_text().splitlines()) == 3  # two distillations and the child of the first


def test_ctrl_c_keeps_finished_cells_and_records_the_others_as_interrupted(start: Start, sweep: Sweep, tmp_path: Path) -> None:
    quick, slow = tmp_path / "quick", tmp_path / "slow"
    methods = f"toy_mean[take=1,note={quick}],toy_mean[take=2,note={slow},behave=sleep],toy_mean[take=3,behave=sleep]"
    runner = start("--methods", methods, "--jobs", "2")
    wait_for(lambda: slow.exists() and "child" in slow.read_text() and records(tmp_path / "out").get("take=1"))
    runner.send_signal(signal.SIGINT)
    out, err = runner.communicate(timeout=60)
    assert runner.returncode == 130, err
    assert "Traceback" not in err
    statuses = {name: r.status for name, r in records(tmp_path / "out").items()}
    assert statuses["take=1"] == "ok"
    assert statuses["take=2"] == "interrupted"
    assert (tmp_path / "out" / "leaderboard.md").is_file()
    cell, child = (int(line.split()[1]) for line in slow.read_text().splitlines()[:2])
    wait_for(lambda: not alive(cell) and not alive(child), 10)
    dry = sweep("--methods", methods, "--dry-run")
    assert "2 pending, 1 cached" in dry.out


def test_sigterm_ends_a_run_like_ctrl_c(start: Start, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    runner = start("--methods", f"toy_mean[note={slow},behave=sleep]")
    wait_for(lambda: slow.exists() and "child" in slow.read_text())
    os.kill(runner.pid, signal.SIGTERM)
    runner.communicate(timeout=60)
    assert runner.returncode == 130
    (record,) = Store(tmp_path / "out").read_all()[0].values()
    assert record.status == "interrupted"
    assert "stage distil" in record.reason


def test_sigterm_to_the_whole_process_group_is_an_interrupt_too(start: Start, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    runner = start("--methods", f"toy_mean[note={slow},behave=sleep]", own_group=True)
    wait_for(lambda: slow.exists() and "child" in slow.read_text())
    os.killpg(runner.pid, signal.SIGTERM)  # reaches the fork server as well
    runner.communicate(timeout=60)
    assert runner.returncode == 130
    (record,) = Store(tmp_path / "out").read_all()[0].values()
    assert record.status == "interrupted"
    cell, child = (int(line.split()[1]) for line in slow.read_text().splitlines()[:2])
    wait_for(lambda: not alive(cell) and not alive(child), 10)
