"""The smallest executor: jobs one after another, in the process of the test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bench.sweep.running.executor import Job, Listener
from bench.sweep.running.stage import run_stage


class InThisProcess:
    """Runs jobs in the order they come."""

    def run(self, jobs: Iterable[Job], listener: Listener) -> None:
        for job in jobs:
            self.run_job(job, listener)

    def run_job(self, job: Job, listener: Listener) -> None:
        """Run the stages of a job until one ends badly."""
        seconds: dict[str, float] = {}
        for stage in job.stages:
            listener.stage_started(job, stage)
            outcome = run_stage(stage, replace(job.payload, seconds=seconds))
            seconds |= outcome.seconds
            if outcome.status != "ok":
                break
        listener.finished(job, replace(outcome, seconds=seconds))
