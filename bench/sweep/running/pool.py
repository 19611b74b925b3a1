"""The local pool: stages in processes of their own, so that a crash, a timeout or an interrupt of one never touches another."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import bench

from .executor import Interrupted, Job, Listener, Queue
from .isolation import child_main
from .numerics import one_thread_environment
from .stage import Outcome

#: What every child needs of the suite, imported once by the server.
_OWN_MODULES = [f"bench.sweep.running.{module}" for module in ("isolation", "distil", "judge")]

_POLL = 0.2  # seconds between looks at timeouts and interrupts


@dataclass
class _Running:
    job: Job
    slot: int
    stages: list[str]
    process: Any
    connection: Connection
    started: float
    kills_before: int
    seconds: dict[str, float]
    end: Outcome | None = None

    @property
    def stage(self) -> str:
        return self.stages[0]


class LocalPool:
    """An executor on this machine: one process per stage.

    Children are forked from a server that has imported torch once (about 0.03 s each); where there is no fork they are
    spawned. Each leads a process group of its own, so a timeout ends it together with whatever it started.
    """

    def __init__(self, slots: int, timeout: float | None, devices: tuple[str, ...] = ("cpu",), preload: Iterable[str] = ()) -> None:
        """Prepare the pool; nothing is started yet.

        Args:
            slots: jobs at a time.
            timeout: seconds a stage may take.
            devices: slot i computes on ``devices[i % len(devices)]``.
            preload: modules the server imports beside the worker's own.
        """
        self.slots, self.timeout, self.devices = slots, timeout, devices
        # torch._dynamo is nothing the suite uses, but the first optimizer imports it, which takes seconds.
        self.context = _context([*preload, "torch._dynamo", *_OWN_MODULES])
        self.stopping = False

    def run(self, jobs: Iterable[Job], listener: Listener) -> None:
        """Run all jobs; every one that is started, or cannot be started any more, ends with ``listener.finished``.

        Raises:
            Interrupted: a signal came; running jobs were ended and told to the listener.
            ValueError: some job could never start.
        """
        queue, free = Queue(jobs), list(range(self.slots))
        running: list[_Running] = []
        self.stopping = False
        with one_thread_environment(_where_bench_is()), self._signals():
            try:
                while (queue or running) and not self.stopping:
                    while free and not self.stopping and (job := queue.take()):
                        running.append(self._start(job, free.pop(0), list(job.stages), {}, listener))
                    self._listen(running, listener)
                    running, over = self._advance(running, listener)
                    for cell, outcome in over:
                        _tell(queue, cell.job, outcome, listener)
                    free = sorted(free + [cell.slot for cell, _ in over])
            finally:
                for cell in running:
                    self._kill(cell)
                    listener.finished(cell.job, _interrupted(cell))
        if self.stopping:
            raise Interrupted

    def _start(self, job: Job, slot: int, stages: list[str], seconds: dict[str, float], listener: Listener) -> _Running:
        payload = replace(job.payload, device=self.devices[slot % len(self.devices)], seconds=seconds)
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=child_main, args=(stages[0], payload.to_json(), theirs))  # type: ignore[attr-defined]
        kills = _oom_kills()
        with _own_main_hidden():
            process.start()
        theirs.close()
        listener.stage_started(job, stages[0])
        return _Running(job, slot, stages, process, ours, time.monotonic(), kills, seconds)

    def _listen(self, running: list[_Running], listener: Listener) -> None:
        """Wait a moment for events, or for the death of a child, and pass progress on."""
        for source in wait([thing for cell in running for thing in (cell.connection, cell.process.sentinel)], timeout=_POLL):
            for cell in running:
                if source in (cell.connection, cell.process.sentinel):
                    _drain(cell, listener)

    def _advance(self, running: list[_Running], listener: Listener) -> tuple[list[_Running], list[tuple[_Running, Outcome]]]:
        """Move jobs whose stage is over to their next one; return those that run, and those that ended and how."""
        still, over = [], []
        for cell in running:
            outcome = self._outcome(cell, listener)
            if outcome is None:
                still.append(cell)
                continue
            self._kill(cell)  # also what the stage started and left behind
            if outcome.status == "ok" and len(cell.stages) > 1 and not self.stopping:
                still.append(self._start(cell.job, cell.slot, cell.stages[1:], outcome.seconds, listener))
            elif outcome.status == "ok" and len(cell.stages) > 1:
                over.append((cell, Outcome("interrupted", "the run was stopped between its stages", "", outcome.seconds)))
            else:
                over.append((cell, outcome))
        return still, over

    def _outcome(self, cell: _Running, listener: Listener) -> Outcome | None:
        """Say how a stage ended, or ``None`` while it runs."""
        code = cell.process.exitcode
        if cell.end is None and code is not None:
            _drain(cell, listener)  # its last words may have come after the last look
        if cell.end is not None:
            return replace(cell.end, seconds={**_spent(cell), **cell.end.seconds})
        if code is not None and self.stopping:
            # A signal to the whole process group (a batch system, `timeout`) also ends the server, and with it our knowledge.
            return _interrupted(cell)
        if code is not None:
            return _died(cell, code)
        if self.timeout is not None and time.monotonic() - cell.started > self.timeout:
            return Outcome("timeout", f"stage {cell.stage} took longer than {self.timeout:g} s", "", _spent(cell))
        return None

    def _kill(self, cell: _Running) -> None:
        """End a cell's process and its whole group, and let go of both."""
        pid = cell.process.pid
        if cell.process.exitcode is None and cell.end is not None:
            cell.process.join(5)  # it has sent its outcome and is about to exit
        if cell.process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                cell.process.kill()
        if pid and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        cell.process.join(5)
        cell.connection.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn Ctrl-C and the signals that end programs into a flag that the loop looks at.

        Only the main thread may do so; a run in another one is stopped by whoever started that thread.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.stopping = True

        names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), stop) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)


def _tell(queue: Queue, job: Job, outcome: Outcome, listener: Listener) -> None:
    """Tell the end of a job, and of those that now can never start."""
    listener.finished(job, outcome)
    # After an interrupt nothing more starts, so what waits is still to be done and has not failed.
    if outcome.status != "interrupted":
        for lost, reason in queue.ended(job, outcome):
            listener.finished(lost, reason)


def _died(cell: _Running, code: int) -> Outcome:
    """Name the death of a process that said nothing."""
    if code == -signal.SIGKILL and _oom_kills() > cell.kills_before:
        return Outcome("oom", "the system killed its process because memory ran out", "", _spent(cell))
    if code < 0:
        with contextlib.suppress(ValueError):
            return Outcome("failed", f"its process was ended by signal {-code} ({signal.Signals(-code).name})", "", _spent(cell))
    return Outcome("failed", f"its process ended with exit code {code}", "", _spent(cell))


def _interrupted(cell: _Running) -> Outcome:
    return Outcome("interrupted", f"the run was stopped in stage {cell.stage}", "", _spent(cell))


def _spent(cell: _Running) -> dict[str, float]:
    return {**cell.seconds, cell.stage: round(time.monotonic() - cell.started, 3)}


def _drain(cell: _Running, listener: Listener) -> None:
    """Take every event that lies in the pipe."""
    with contextlib.suppress(EOFError, OSError):
        while cell.end is None and cell.connection.poll():
            event = json.loads(cell.connection.recv_bytes())
            if event["event"] == "end":
                cell.end = Outcome.from_json(event["outcome"])
            else:
                listener.progressed(cell.job, cell.stage, event["step"], event["total"], event["scalars"])


def _oom_kills() -> int:
    """Return how many processes of this control group the kernel has killed for memory so far; 0 if it does not say."""
    try:
        groups = [entry.split(":", 2) for entry in Path("/proc/self/cgroup").read_text().splitlines()]
        for _, controllers, path in groups:
            # Version 2 has one hierarchy without a name; version 1 has one for memory.
            folder = {"": Path("/sys/fs/cgroup"), "memory": Path("/sys/fs/cgroup/memory")}.get(controllers)
            if folder is None:
                continue
            # In a container the group may be mounted as the root of the hierarchy.
            places = [place / file for place in (folder / path.lstrip("/"), folder) for file in ("memory.events", "memory.oom_control")]
            for counter in places:
                if counter.is_file():
                    return sum(int(line.split()[1]) for line in counter.read_text().splitlines() if line.startswith("oom_kill "))
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _context(preload: list[str]) -> BaseContext:
    """Return the way processes are started: from a fork server where there is one, else by spawning."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(preload)
    return context


def modules_worth_preloading() -> list[str]:
    """Return the installed packages that planning had to import, so that each cell finds them imported already."""
    heavy = ("torch", "torchvision", "sklearn", "scipy", "pandas", "PIL", "matplotlib")
    return sorted(
        name
        for name in sys.modules
        if name.partition(".")[0] in heavy and name.count(".") <= 1 and not any(part.startswith("_") for part in name.split("."))
    )


def _where_bench_is() -> dict[str, str]:
    """Return the variable by which the server finds ``bench``, also in a bare checkout."""
    home = str(Path(bench.__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    return {} if home in known.split(os.pathsep) else {"PYTHONPATH": os.pathsep.join(filter(None, [known, home]))}


@contextlib.contextmanager
def _own_main_hidden() -> Iterator[None]:
    """Keep a child from importing the program's own file again: a script without the usual guard would run once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
