"""The order in which jobs wait, and what becomes of those whose prerequisite failed."""

from __future__ import annotations

import pytest

from bench.sweep.running.executor import Job, Queue
from bench.sweep.running.stage import Outcome, Payload

OK = Outcome("ok")


def job(key: str, *after: str) -> Job:
    return Job(key, ("distil",), Payload(key, "out", "data", prerequisite={"name": key, "dataset": "digits"}), after)


def test_jobs_start_in_their_order_once_what_they_wait_for_has_ended_well() -> None:
    first, second, third = jobs = [job("a", "p"), job("p"), job("b")]
    queue = Queue(jobs)
    assert queue.take() == second
    assert queue.take() == third
    assert queue.take() is None  # "a" waits while "p" runs
    assert queue.ended(second, OK) == []
    assert queue.take() == first
    assert len(queue) == 0


def test_a_job_waits_for_all_of_its_prerequisites() -> None:
    queue = Queue([job("p"), job("q"), job("a", "p", "q")])
    p, q = queue.take(), queue.take()
    assert p is not None
    assert q is not None
    queue.ended(p, OK)
    assert queue.take() is None
    queue.ended(q, OK)
    assert queue.take() == job("a", "p", "q")


@pytest.mark.parametrize("status", ["failed", "timeout", "oom", "rejected"])
def test_what_waits_for_a_failed_job_fails_with_its_reason_directly_or_not(status: str) -> None:
    queue = Queue([job("p"), job("a", "p"), job("b", "a"), job("c")])
    p = queue.take()
    assert p is not None
    lost = queue.ended(p, Outcome(status, "no space left", seconds={"prerequisite": 1.0}))
    assert [(one.key, outcome.status) for one, outcome in lost] == [("a", "failed"), ("b", "failed")]
    assert lost[0][1].reason == f"prerequisite p digits ended as {status}: no space left (log logs/p.log)"
    assert lost[1][1].reason == f"prerequisite a digits ended as failed: {lost[0][1].reason}"
    assert queue.take() == job("c")
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([job("a"), job("a")], "same key"),
        ([job("a", "nobody")], "jobs a wait"),
        ([job("a", "b"), job("b", "a"), job("c")], "jobs a, b wait"),
    ],
)
def test_jobs_that_could_never_start_are_a_mistake(jobs: list[Job], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Queue(jobs)
