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


@pytest.mark.parametrize(
    ("stage", "rescue", "before", "can"),
    [
        ("distil", ("judge",), None, True),
        ("distil", (), None, False),
        ("judge", ("judge",), None, False),  # it is what would come to the rescue
        ("judge", ("judge",), Outcome("timeout"), False),
    ],
)
def test_a_job_is_rescued_once_and_from_a_stage_before(stage: str, rescue: tuple[str, ...], before: Outcome | None, can: bool) -> None:
    job = Job("k", ("distil", "judge"), Payload("k", "out", "data"), rescue=rescue)
    assert pool._can_be_rescued(pool._Task(job, 0, (stage,), {}, timed_out=before)) is can


def test_a_job_whose_time_ran_out_has_timed_out_whatever_its_rescue_came_to() -> None:
    late = Outcome("timeout", "stage distil took longer than 6 s", "", {"distil": 6.0})
    well = pool._rescued(late, Outcome("ok", seconds={"distil": 6.0, "judge": 2.0}, accuracy=0.5))
    assert (well.status, well.reason, well.accuracy, well.seconds["judge"]) == ("timeout", late.reason, 0.5, 2.0)
    badly = pool._rescued(late, Outcome("rejected", "it is over budget", "trace", {"distil": 6.0}))
    assert (badly.status, badly.accuracy, badly.traceback) == ("timeout", None, "trace")
    assert badly.reason == "stage distil took longer than 6 s; nothing of it was judged: it is over budget"
    assert pool._rescued(late, Outcome("interrupted", "the run was stopped")).status == "interrupted"
