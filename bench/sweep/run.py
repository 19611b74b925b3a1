"""From a plan to records: jobs for an executor, records for what went wrong, and the exit code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import BenchError, UnwritableError, reason_of
from ..prerequisite import Need
from ..prerequisite_store import PrerequisiteStore, resolve
from ..record import Cell, Record, Status
from .planning.curve_cost import wants_curve
from .planning.estimate import Estimate
from .planning.plan import Plan, PlannedCell
from .running.environment import describe, usable_cores
from .running.executor import Executor, Interrupted, Job, Listener
from .running.plugin_files import surroundings_of
from .running.pool import LocalPool, modules_worth_preloading
from .running.stage import Outcome, Payload
from .settings import RunSettings
from .store import Store

#: Exit codes, see docs/scaling.md.
OK, CELL_FAILED, INTERRUPTED = 0, 3, 130

_BAD = ("rejected", "failed", "timeout", "oom")
_TRACEBACK_LINES = 30


def devices_for(wanted: str) -> tuple[str, ...]:
    """Return the devices that slots take in turn.

    Raises:
        BenchError: CUDA was asked for and is not there.
    """
    available = torch.cuda.device_count() if wanted != "cpu" and torch.cuda.is_available() else 0
    if wanted == "cuda" and not available:
        raise BenchError("--device cuda was asked for, but torch finds no CUDA device; use --device cpu or auto")
    return tuple(f"cuda:{index}" for index in range(available)) or ("cpu",)


def default_jobs(devices: Sequence[str]) -> int:
    """Return one job per core on a CPU, one per GPU on CUDA."""
    return len(devices) if devices[0].startswith("cuda") else usable_cores()


class Recorder:
    """Listens to the executor: writes the records that no stage could, and passes everything on to the progress."""

    def __init__(self, store: Store, planned: Mapping[str, PlannedCell], environment: dict[str, Any], progress: Listener) -> None:
        """Take what a record needs beside the outcome."""
        self.store, self.planned, self.environment, self.progress = store, planned, environment, progress
        self._started: dict[str, str] = {}
        self._unwritten: list[str] = []

    def stage_started(self, job: Job, stage: str) -> None:
        """Note the time of the first stage."""
        self._started.setdefault(job.key, _now())
        self.progress.stage_started(job, stage)

    def progressed(self, job: Job, stage: str, step: int, total: int, scalars: dict[str, float]) -> None:
        """Pass it on."""
        self.progress.progressed(job, stage, step, total, scalars)

    def repeated(self, job: Job, stage: str, reason: str) -> None:
        """Pass it on."""
        self.progress.repeated(job, stage, reason)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Write a record for every end of a cell without a score; with one, the judge has written it itself."""
        if job.key in self.planned and outcome.status != "ok" and outcome.accuracy is None:
            before = self.store.read(job.key)  # by now it may be that of another runner on the same folder
            # An interrupted second run of a finished cell leaves the finished record in place, and so does a cell that a
            # rival has finished meanwhile.
            finished = before is not None and before.status == "ok"
            if not (finished and (outcome.status == "interrupted" or not job.payload.redistil)):
                self._write(job, outcome)
        self.progress.finished(job, outcome)

    def _write(self, job: Job, outcome: Outcome) -> None:
        try:
            self.store.write(self._record(job, outcome))
        except OSError as error:  # the other cells may still come to something
            self._unwritten.append(reason_of(error))

    def check(self) -> None:
        """Tell, once all have ended, whether there was a record that could not be written.

        Raises:
            UnwritableError: there was.
        """
        if self._unwritten:
            number = len(self._unwritten)
            raise UnwritableError(
                f"{number} record{'s' if number > 1 else ''} could not be written into '{self.store.records}' ({self._unwritten[0]}); "
                "make room there, then give the same command again: what is finished is kept"
            )

    def _record(self, job: Job, outcome: Outcome) -> Record:
        planned = self.planned[job.key]
        record = unscored_record(planned, outcome.status, outcome.reason, self.environment)  # type: ignore[arg-type]
        info = self.store.set_info(planned.distil_key) if planned.distil_key else None
        record.distil = {key: value for key, value in (info or {}).items() if key not in ("code_hash", "environment")}
        record.seconds = {"distil": 0.0, "judge": 0.0, **outcome.seconds}
        if job.key in self._started:  # a cell whose prerequisite failed never started
            record.started, record.log = self._started[job.key], job.payload.log
        record.traceback = "\n".join(outcome.traceback.splitlines()[-_TRACEBACK_LINES:])
        return record


def unscored_record(planned: PlannedCell, status: Status, reason: str, environment: dict[str, Any]) -> Record:
    """Return the record of a cell that has no scores."""
    return Record(
        key=planned.key,
        distil_key=planned.distil_key,
        status=status,
        cell=planned.cell,
        reason=reason,
        environment=surroundings_of(planned.cell, environment),
        started=_now(),
    )


def write_unrun(plan: Plan, store: Store, environment: dict[str, Any]) -> None:
    """Write the records of cells that need no process: refusals, and methods that broke while they were planned."""
    for planned in plan.cells:
        if planned.state not in ("refused", "failed"):
            continue
        known = planned.record
        if known is None or (known.status, known.reason) != (planned.state, planned.reason):
            store.write(unscored_record(planned, planned.state, planned.reason, environment))


def make_environment(settings: RunSettings, device: str) -> dict[str, Any]:
    """Return what every record of this run says of its surroundings; plugins by file name alone."""
    environment = describe(device)
    if settings.plugin:
        environment["plugins"] = [Path(file).name for file in settings.plugin]
    return environment


def make_jobs(plan: Plan, store: Store, settings: RunSettings, environment: dict[str, Any], estimates: Mapping[str, Estimate]) -> list[Job]:
    """Return the jobs of all pending cells, the longest first, so that no long one is left alone at the end.

    What they need comes before them, each prerequisite once.
    """
    base = Payload("", str(store.out.resolve()), str(plan.options.root), plugins=tuple(settings.plugin), environment=environment)
    cells, before = [], {}
    for planned in plan.pending():
        payload = replace(
            base,
            key=planned.key,
            cell=planned.cell,
            asked=plan.asked.get(planned.cell.dataset, ""),
            distil_key=planned.distil_key,
            redistil=planned.redistil,
            curve=wants_curve(planned, plan, settings.curve),
            keep=settings.keep_on_timeout,
            judged_at=planned.record.started if planned.record else "",
        )
        if planned.distil_key == "" or (store.set_info(planned.distil_key) is not None and not planned.redistil):
            cells.append(Job(planned.key, ("judge",), payload))
            continue
        for needed in planned.cell.prerequisites:
            before[needed["key"]] = _prerequisite_job(needed, planned.cell, replace(base, asked=payload.asked))
        after, rescue = tuple(p["key"] for p in planned.cell.prerequisites), ("judge",) if settings.keep_on_timeout else ()
        cells.append(Job(planned.key, ("distil", "judge"), payload, after, rescue))
    return [*before.values(), *sorted(cells, key=lambda job: -estimates[job.key].seconds)]


def _prerequisite_job(needed: Mapping[str, Any], cell: Cell, base: Payload) -> Job:
    """Return the job that builds what a cell needs, or finds it built."""
    about = {**needed, "dataset": cell.dataset, "split": cell.split, "data_hash": cell.data_hash}
    return Job(needed["key"], ("prerequisite",), replace(base, key=needed["key"], prerequisite=about))


def damaged_prerequisites(jobs: Sequence[Job], store: Store) -> list[str]:
    """Return a warning for every prerequisite of a run that is on disk and damaged; its job builds it again."""
    built = PrerequisiteStore(store.prerequisites)
    for job in jobs:
        if about := job.payload.prerequisite:
            built.find(job.key, resolve(Need(about["name"], about["config"], about["seed"])).writes)
    return built.warnings


def run_jobs(jobs: list[Job], recorder: Recorder, executor: Executor) -> bool:
    """Run all jobs; tell whether the run came to its end."""
    try:
        executor.run(jobs, recorder)
    except Interrupted:
        return False
    return True


def make_pool(jobs: int, timeout: float | None, devices: tuple[str, ...]) -> LocalPool:
    """Return a pool whose server imports what planning has shown to be needed."""
    return LocalPool(jobs, timeout, devices, modules_worth_preloading())


def closing_lines(plan: Plan, records: Mapping[str, Record], store: Store) -> list[str]:
    """Return what is to be said at the end: how many cells ended how, and where to look for those that ended badly."""
    found = [records[planned.key] for planned in plan.cells if planned.key in records]
    counts = Counter(record.status for record in found)
    lines = [f"{len(found)} of {len(plan.cells)} cells have a record: {', '.join(f'{n} {status}' for status, n in counts.most_common())}"]
    for record in found:
        if record.status in _BAD:
            log = f", log {store.out / record.log}" if record.log else ""
            lines.append(f"{record.status}: {record.cell.title}: {record.reason} (cell {record.key[:12]}{log})")
    return lines


def exit_code(plan: Plan, records: Mapping[str, Record]) -> int:
    """Return 0 if every cell of the plan is ok or refused, 3 if some cell is not, or has no record at all."""
    statuses = {records[planned.key].status if planned.key in records else "failed" for planned in plan.cells}
    return CELL_FAILED if statuses & set(_BAD) else OK


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")
