"""How deaths are told apart, and the way of starting processes where there is no fork."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bench import BenchError
from bench.sweep import run
from bench.sweep.running import pool
from bench.sweep.running.executor import Job
from bench.sweep.running.stage import Outcome, Payload


def cell(kills_before: int = 3) -> pool._Running:
    task = pool._Task(Job("k", ("distil",), Payload("k", "out", "data")), 0, ("distil",), {})
    nothing: Any = SimpleNamespace()
    return pool._Running(task, nothing, nothing, None, kills_before, 0.0)


def dead(code: int) -> Outcome:
    ended = pool._died(cell(), code)
    return ended if isinstance(ended, Outcome) else Outcome("again", ended.reason)


def test_a_kill_counts_as_out_of_memory_only_if_the_kernel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_oom_kills", lambda: 3)
    assert dead(-signal.SIGKILL).status == "again"
    assert "SIGKILL" in dead(-signal.SIGKILL).reason
    monkeypatch.setattr(pool, "_oom_kills", lambda: 4)
    assert dead(-signal.SIGKILL).status == "oom"
    assert dead(-signal.SIGSEGV).status == "failed"
    assert dead(137).status == "failed"


def test_a_cell_of_which_nobody_knows_how_it_ended_is_out_of_memory_if_the_kernel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_oom_kills", lambda: 4)
    lost = pool._lost(cell())
    assert isinstance(lost, Outcome)
    assert lost.status == "oom"


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_what_people_and_batch_systems_send_is_no_fault_of_the_cell(number: str) -> None:
    assert dead(-getattr(signal, number)).status == "again"


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGXCPU"])
def test_what_a_process_brings_upon_itself_is(number: str) -> None:
    assert dead(-getattr(signal, number)).status == "failed"


def test_the_kernels_count_can_be_read_or_is_nought() -> None:
    assert pool._oom_kills() >= 0


def test_cells_run_where_there_is_no_fork(sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    done = sweep()
    assert done.code == 0, done.err
    assert done.record.status == "ok"


def test_devices_and_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    assert run.devices_for("cpu") == run.devices_for("auto") == ("cpu",)
    assert run.default_jobs(("cpu",)) == run.usable_cores()
    with pytest.raises(BenchError, match="no CUDA device"):
        run.devices_for("cuda")
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(run.torch.cuda, "device_count", lambda: 2)
    assert run.devices_for("cuda") == run.devices_for("auto") == ("cuda:0", "cuda:1")
    assert run.devices_for("cpu") == ("cpu",)
    assert run.default_jobs(("cuda:0", "cuda:1")) == 2
