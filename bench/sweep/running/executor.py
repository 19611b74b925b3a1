"""The narrow interface behind which jobs run, on this machine or elsewhere, and the order that they wait in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from .stage import Outcome, Payload


@dataclass(frozen=True)
class Job:
    """A cell or a prerequisite on its way through its stages.

    Attributes:
        key: judge key of the cell, or key of the prerequisite.
        stages: names of ``bench.sweep.running.stage.STAGES``, run one after another while they end well.
        payload: what every stage gets, with the device and the seconds of the stages before filled in.
        after: keys of jobs that must have ended well before this one starts.
        rescue: stages that run after another one has taken too long, on what it left; the job has timed out all the same.
    """

    key: str
    stages: tuple[str, ...]
    payload: Payload
    after: tuple[str, ...] = ()
    rescue: tuple[str, ...] = ()


class Listener(Protocol):
    """What an executor tells while it runs."""

    def stage_started(self, job: Job, stage: str) -> None:
        """A stage has its process."""

    def progressed(self, job: Job, stage: str, step: int, total: int, scalars: dict[str, float]) -> None:
        """A stage says how far it is."""

    def repeated(self, job: Job, stage: str, reason: str) -> None:
        """The process of a stage was ended from outside, and the stage runs again."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """A job has ended, well or badly, or was interrupted."""


class Interrupted(Exception):
    """The run was told to stop (Ctrl-C, SIGTERM)."""


class Executor(Protocol):
    """Runs jobs. Each stage is one call of ``run_stage``, in a process that the next stage does not share."""

    def run(self, jobs: Iterable[Job], listener: Listener) -> None:
        """Run all jobs; every one that is started, or cannot be started any more, ends with ``listener.finished``.

        Raises:
            Interrupted: the run was told to stop; what ran was ended and told to the listener.
        """


class Queue:
    """Jobs that wait, in the order they were given, each until those it comes ``after`` have ended well."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        """Take all jobs of a run.

        Raises:
            ValueError: two have the same key, or one could never start: what it waits for is unknown or waits for it.
        """
        self._waiting = list(jobs)
        self._done: set[str] = set()
        known = {job.key for job in self._waiting}
        if len(known) != len(self._waiting):
            raise ValueError("two jobs have the same key")
        possible: set[str] = set()
        while fresh := {job.key for job in self._waiting if job.key not in possible and possible.issuperset(job.after)}:
            possible |= fresh
        if stuck := sorted(known - possible):
            raise ValueError(f"jobs {', '.join(stuck)} wait for jobs that are not there, or for each other")

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    def take(self) -> Job | None:
        """Take out the first job that may start now, or return ``None`` if all have to wait."""
        for job in self._waiting:
            if self._done.issuperset(job.after):
                self._waiting.remove(job)
                return job
        return None

    def ended(self, job: Job, outcome: Outcome) -> list[tuple[Job, Outcome]]:
        """Note how a job ended; return the jobs that therefore never start, with the outcome of each."""
        if outcome.status == "ok":
            self._done.add(job.key)
            return []
        lost = [other for other in self._waiting if job.key in other.after]
        self._waiting = [other for other in self._waiting if job.key not in other.after]
        told = []
        log = f" (log {job.payload.log})" if outcome.seconds else ""  # one that never started has none
        for other in lost:
            failed = Outcome("failed", f"{job.payload.title} ended as {outcome.status}: {outcome.reason}{log}")
            told += [(other, failed), *self.ended(other, failed)]
        return told
