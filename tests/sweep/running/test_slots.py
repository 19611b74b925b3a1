"""Which device a job computes on: slots take the devices in turn, and a job keeps its slot through its stages."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from bench.sweep.running.executor import Job
from bench.sweep.running.pool import LocalPool
from bench.sweep.running.stage import Outcome, Payload


class FakeProcess:
    """Stands for a process that ends well at once, or once another job has begun."""

    pid = None
    exitcode: int | None = 0

    def __init__(self, target: Callable[..., None], args: tuple[str, str, Connection], machine: FakeMachine) -> None:
        del target
        self.stage, text, self.connection = args
        self.payload, self.machine = Payload.from_json(text), machine
        self.sentinel, end = os.pipe()
        os.close(end)  # a process that is over: whoever waits for it is woken

    def start(self) -> None:
        machine, key = self.machine, self.payload.key
        machine.seen.append((key, self.stage, self.payload.device))
        if key in machine.ends_after:
            machine.waiting[machine.ends_after[key]] = self
            self.exitcode, self.connection = None, self.connection.__class__(os.dup(self.connection.fileno()), readable=False)
        else:
            self.end()
        if key in machine.waiting:
            machine.waiting.pop(key).end()

    def end(self) -> None:
        self.connection.send_bytes(json.dumps({"event": "end", "outcome": Outcome("ok").to_json()}).encode())
        if self.exitcode is None:
            self.connection.close()  # the copy that was kept; the pool closes the other one
        self.exitcode = 0

    def join(self, timeout: float) -> None:
        pass


class FakeMachine:
    """Starts fake processes and remembers where each stage computed."""

    def __init__(self, ends_after: dict[str, str]) -> None:
        self.ends_after = ends_after
        self.waiting: dict[str, FakeProcess] = {}
        self.seen: list[tuple[str, str, str]] = []
        self.Pipe = multiprocessing.Pipe

    def Process(self, target: Callable[..., None], args: tuple[str, str, Connection]) -> FakeProcess:
        return FakeProcess(target, args, self)


class Silent:
    """A listener that only counts ends."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}

    def stage_started(self, job: Job, stage: str) -> None:
        pass

    def progressed(self, *told: Any) -> None:
        pass

    def finished(self, job: Job, outcome: Outcome) -> None:
        self.ended[job.key] = outcome.status


def places(jobs: list[Job], slots: int, devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, **ends_after: str) -> list[Any]:
    """Run jobs on a fake machine; return (job, stage, device) of every stage, in the order in which they started."""
    pool, machine, listener = LocalPool(slots, None, devices), FakeMachine(ends_after), Silent()
    monkeypatch.setattr(pool, "context", machine)
    pool.run(jobs, listener)  # type: ignore[arg-type]
    assert set(listener.ended.values()) == {"ok"}
    assert len(listener.ended) == len(jobs)
    return machine.seen


def job(key: str, *stages: str) -> Job:
    return Job(key, stages or ("distil",), Payload(key, "out", "data"))


def test_slots_take_the_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = places([job("a"), job("b"), job("c")], 3, ("cuda:0", "cuda:1"), monkeypatch)
    assert found == [("a", "distil", "cuda:0"), ("b", "distil", "cuda:1"), ("c", "distil", "cuda:0")]


def test_a_job_stays_on_its_device_through_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = places([job("a", "distil", "judge"), job("b", "distil", "judge")], 2, ("cuda:0", "cuda:1"), monkeypatch)
    assert {key: [device for one, _, device in found if one == key] for key in "ab"} == {"a": ["cuda:0"] * 2, "b": ["cuda:1"] * 2}


def test_the_next_job_takes_the_device_that_has_become_free(monkeypatch: pytest.MonkeyPatch) -> None:
    found = places([job("long"), job("short"), job("next")], 2, ("cuda:0", "cuda:1"), monkeypatch, long="next")
    assert [device for _, _, device in found] == ["cuda:0", "cuda:1", "cuda:1"]
