"""Which device a job computes on: slots take the devices in turn, and a job keeps its slot through its stages."""

from __future__ import annotations

import json
import multiprocessing
import os
from multiprocessing.connection import Connection

import pytest

from bench.sweep.running.executor import Job
from bench.sweep.running.pool import LocalPool
from bench.sweep.running.stage import Outcome, Payload


class FakeProcess:
    """Stands for a process that ends well when it is told to."""

    pid = None
    exitcode: int | None = None

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sentinel, self.alive = os.pipe()

    def end(self) -> None:
        self.connection.send_bytes(json.dumps({"event": "end", "outcome": Outcome("ok").to_json()}).encode())
        self.connection.close()
        os.close(self.alive)  # whoever waits for the sentinel is woken
        self.exitcode = 0

    def kill(self) -> None:
        pass

    def join(self, timeout: float) -> None:
        del timeout
        os.close(self.sentinel)


class FakeMachine:
    """Starts fake processes, which end at once or when another job starts, and remembers where each stage computed."""

    def __init__(self, ends_with: dict[str, str]) -> None:
        self.ends_with = ends_with
        self.running: dict[str, FakeProcess] = {}
        self.seen: list[tuple[str, str, str]] = []

    def process(self, stage: str, payload: Payload) -> tuple[FakeProcess, Connection]:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        self.seen.append((payload.key, stage, payload.device))
        self.running[payload.key] = process = FakeProcess(theirs)
        for key in list(self.running):
            if self.ends_with.get(key, key) == payload.key:
                self.running.pop(key).end()
        return process, ours


class Ends:
    """A listener that remembers how jobs ended."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}

    def stage_started(self, job: Job, stage: str) -> None:
        pass

    def finished(self, job: Job, outcome: Outcome) -> None:
        self.statuses[job.key] = outcome.status


def places(jobs: list[Job], slots: int, monkeypatch: pytest.MonkeyPatch, **ends_with: str) -> list[tuple[str, str, str]]:
    """Run jobs on a fake machine of two devices; return (job, stage, device) of every stage in the order of their starts."""
    pool, machine, listener = LocalPool(slots, None, ("cuda:0", "cuda:1")), FakeMachine(ends_with), Ends()
    monkeypatch.setattr(pool, "_process", machine.process)
    pool.run(jobs, listener)  # type: ignore[arg-type]
    assert listener.statuses == {one.key: "ok" for one in jobs}
    return machine.seen


def job(key: str, *stages: str) -> Job:
    return Job(key, stages or ("distil",), Payload(key, "out", "data"))


def test_slots_take_the_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = places([job("a"), job("b"), job("c")], 3, monkeypatch)
    assert found == [("a", "distil", "cuda:0"), ("b", "distil", "cuda:1"), ("c", "distil", "cuda:0")]


def test_a_job_stays_on_its_device_through_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = places([job("a", "distil", "judge"), job("b", "distil", "judge")], 2, monkeypatch)
    assert {key: [device for one, _, device in found if one == key] for key in "ab"} == {"a": ["cuda:0"] * 2, "b": ["cuda:1"] * 2}


def test_the_next_job_takes_the_device_that_has_become_free(monkeypatch: pytest.MonkeyPatch) -> None:
    found = places([job("long"), job("short"), job("next")], 2, monkeypatch, long="next")
    assert [device for _, _, device in found] == ["cuda:0", "cuda:1", "cuda:1"]
