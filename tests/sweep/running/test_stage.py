"""A stage as a function: its payload and outcome are JSON, and errors become statuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench import BenchError, RejectedSet
from bench.record import Cell
from bench.sweep.running import judge
from bench.sweep.running.stage import Outcome, Payload, run_stage

CELL = Cell("contestant", "toy", "0", "dev", "m", "", 1, {"a": [1, 2]}, {"requested": "1", "pixels": 2, "ipc": 1.0}, 0, 1.0, {"name": "p"})
PAYLOAD = Payload("k", "out", "data", CELL, distil_key="d", plugins=("a.py", "b.py"), environment={"threads": 1}, seconds={"distil": 1.5})
Stage = Callable[[Callable[..., Any]], None]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Put a function into the place of the stage that judges."""

    def put(function: Callable[..., Any]) -> None:
        monkeypatch.setattr(judge, "judge_stage", function)

    return put


@pytest.mark.parametrize("payload", [PAYLOAD, Payload("p", "out", "data", prerequisite={"name": "features", "config": {"x": [1]}})])
def test_a_payload_comes_back_from_json(payload: Payload) -> None:
    assert Payload.from_json(payload.to_json()) == payload
    assert json.loads(payload.to_json())["key"] == payload.key


@pytest.mark.parametrize(("seed", "title"), [(0, "prerequisite features digits"), (7, "prerequisite features 7 digits")])
def test_prerequisites_that_differ_in_their_seed_are_told_apart(seed: int, title: str) -> None:
    assert Payload("p", "out", "data", prerequisite={"name": "features", "seed": seed, "dataset": "digits"}).title == title


def test_an_outcome_comes_back_from_json() -> None:
    outcome = Outcome("failed", "why", "Traceback", {"distil": 0.1}, None)
    assert Outcome.from_json(outcome.to_json()) == outcome


def test_a_stage_that_ends_well_tells_its_time_and_accuracy(stage: Stage) -> None:
    stage(lambda payload, report: report(1, 2, {"loss": 0.5}) or {"seconds": 2.0, "accuracy": 0.25})
    heard: list[object] = []
    assert run_stage("judge", PAYLOAD, lambda *told: heard.append(told)) == Outcome("ok", seconds={"judge": 2.0}, accuracy=0.25)
    assert heard == [(1, 2, {"loss": 0.5})]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RejectedSet("too large"), "rejected", "too large"),
        (BenchError("no data"), "failed", "no data"),
        (RuntimeError("first line\nsecond"), "failed", "RuntimeError: first line"),
        (KeyError(), "failed", "KeyError"),
        (SystemExit(0), "failed", "SystemExit: 0"),
        (MemoryError(), "oom", "out of memory"),
        (torch.OutOfMemoryError("CUDA"), "oom", "out of memory: CUDA"),
    ],
)
def test_an_error_becomes_a_status_and_nothing_is_printed(
    stage: Stage, error: BaseException, status: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(payload: Payload, report: object) -> None:
        raise error

    stage(broken)
    outcome = run_stage("judge", PAYLOAD)
    assert (outcome.status, outcome.reason) == (status, reason)
    assert outcome.traceback.startswith("Traceback")
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_is_nobodys_failure(stage: Stage) -> None:
    def interrupted(payload: Payload, report: object) -> None:
        raise KeyboardInterrupt

    stage(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_stage("judge", PAYLOAD)


def test_a_stage_computes_with_one_thread_and_leaves_the_process_as_it_was(stage: Stage) -> None:
    seen = []
    stage(lambda payload, report: seen.append(torch.get_num_threads()) or {"seconds": 0.0})
    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark = True
    try:
        assert run_stage("judge", PAYLOAD).status == "ok"
        assert seen == [1]
        assert torch.get_num_threads() == 2
        assert torch.backends.cudnn.benchmark
    finally:
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = False


def test_an_unknown_stage_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        run_stage("bake", PAYLOAD)


def test_payloads_need_no_torch() -> None:
    import subprocess

    code = "import bench.library, bench.sweep.running.executor, sys; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
