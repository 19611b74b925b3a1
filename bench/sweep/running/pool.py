"""The local pool: stages in processes of their own, so that a crash, a timeout or an interrupt of one never touches another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

import bench

from .executor import Interrupted, Job, Listener, Queue
from .isolation import child_main
from .numerics import one_thread_environment
from .server import ForkServer, NoAnswer
from .stage import Outcome, Payload

#: What every child needs of the suite, imported once by the server.
_OWN_MODULES = [f"bench.sweep.running.{module}" for module in ("isolation", "distil", "judge")]

_POLL = 0.2  # seconds between looks at timeouts and interrupts
_SILENCE = 30.0  # seconds after which a fork server that does not answer is replaced
_REAPING = 5.0  # seconds in which a process that was killed is gone, and its server says so
_STARTS = 3  # how often a process is tried to be started
_UNKNOWN = 255  # exit code of a process whose server is gone, as `multiprocessing` has it; a process may also choose it
_LOSSES = 3  # how often a stage may end unseen because the server is gone

#: Signals that come from outside: from a person, a batch system or the kernel. A process that crashes gets others.
_FROM_OUTSIDE = frozenset(
    getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)


@dataclass(frozen=True)
class _Task:
    """What is to be run next of a job.

    Attributes:
        job: it.
        slot: its place, which decides on the device.
        stages: those that are left.
        seconds: spent on the stages before.
        kills: how often this stage was ended by a signal from outside.
        losses: how often it ended unseen because the server was gone.
        timed_out: how an earlier stage ended that took too long, where these are the job's stages to the rescue.
    """

    job: Job
    slot: int
    stages: tuple[str, ...]
    seconds: dict[str, float]
    kills: int = 0
    losses: int = 0
    timed_out: Outcome | None = None

    @property
    def stage(self) -> str:
        return self.stages[0]


@dataclass
class _Running:
    """A task with its process.

    Attributes:
        task: it.
        process: of the stage.
        connection: where its events come from.
        server: process id of the server it was forked from.
        kills_before: how many processes the kernel had killed for memory before.
        started: when.
        end: what it said in the end.
        closed: when its connection was closed, by its end or its death.
        orphan: its server is gone, so that its end shows in its connection alone.
    """

    task: _Task
    process: Any
    connection: Connection
    server: int | None
    kills_before: int
    started: float
    end: Outcome | None = None
    closed: float | None = None
    orphan: bool = False


@dataclass(frozen=True)
class _Died:
    """A process was ended by something that is not its own doing; the stage may run again as ``task``."""

    reason: str
    task: _Task


#: Jobs that are over, with how they ended.
_Over = list[tuple[_Task, Outcome]]


class LocalPool:
    """An executor on this machine: one process per stage.

    Children are forked from a server that has imported torch once (about 0.03 s each); where there is no fork they are
    spawned. Each leads a process group of its own, so a timeout ends it together with whatever it started.
    """

    def __init__(
        self,
        slots: int,
        timeout: float | None,
        devices: tuple[str, ...] = ("cpu",),
        preload: Iterable[str] = (),
        silence: float = _SILENCE,
    ) -> None:
        """Prepare the pool; nothing is started yet.

        Args:
            slots: jobs at a time.
            timeout: seconds a stage may take.
            devices: slot i computes on ``devices[i % len(devices)]``.
            preload: modules the server imports beside the worker's own.
            silence: seconds after which a fork server that does not answer is replaced.
        """
        self.slots, self.timeout, self.devices = slots, timeout, devices
        # torch._dynamo is nothing the suite uses, but the first optimizer imports it, which takes seconds.
        self.server = ForkServer([*preload, "torch._dynamo", *_OWN_MODULES], silence)
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
                    over: _Over = []
                    while free and not self.stopping and (job := queue.take()):
                        self._start(_Task(job, free.pop(0), job.stages, {}), running, over, listener)
                    self._listen(running, listener)
                    running = self._advance(running, over, listener)
                    for task, outcome in over:
                        _tell(queue, task.job, outcome, listener)
                    free = sorted(free + [task.slot for task, _ in over])
            finally:
                for cell in running:
                    self._kill(cell)
                for cell in running:
                    listener.finished(cell.task.job, _interrupted(cell))
        if self.stopping:
            raise Interrupted

    def _start(self, task: _Task, running: list[_Running], over: _Over, listener: Listener) -> None:
        """Start a stage and add it to ``running``, or to ``over`` if it cannot be started."""
        timed_out = task.timed_out.reason if task.timed_out else ""
        device = self.devices[task.slot % len(self.devices)]
        payload = replace(task.job.payload, device=device, seconds=task.seconds, timed_out=timed_out)
        kills = _oom_kills()
        try:
            started = None if self.stopping else self._process(task.stage, payload)
        except (NoAnswer, OSError) as error:
            over.append((task, Outcome("failed", f"its process could not be started: {error}", "", task.seconds)))
            return
        if started is None:
            over.append((task, Outcome("interrupted", f"the run was stopped before stage {task.stage}", "", task.seconds)))
            return
        listener.stage_started(task.job, task.stage)
        running.append(_Running(task, *started, self.server.pid, kills, time.monotonic()))

    def _process(self, stage: str, payload: Payload) -> tuple[Any, Connection] | None:
        """Return the process of a stage and its connection, or ``None`` if the run was stopped meanwhile.

        Raises:
            NoAnswer: no server lived long enough to start it.
            OSError: the system has no room for another process.
        """
        for attempt in range(_STARTS):
            ours, theirs = self.server.context.Pipe(duplex=False)
            process = self.server.context.Process(target=child_main, args=(stage, payload.to_json(), theirs))  # type: ignore[attr-defined]
            try:
                if self.server.start(process, lambda: self.stopping):
                    return process, ours
                ours.close()
                return None
            except NoAnswer as error:
                ours.close()  # a process that was started in spite of all may still hold the other end
                if attempt == _STARTS - 1:
                    raise NoAnswer(f"the server that starts processes {error}, {_STARTS} times in a row") from None
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
        raise AssertionError("every attempt returns or raises")

    def _listen(self, running: list[_Running], listener: Listener) -> None:
        """Wait a moment for events, or for the death of a child, and pass progress on."""
        # What is closed, or lost its server, is always ready and has nothing to say.
        pipes = {cell.connection: cell for cell in running if cell.closed is None}
        deaths = [cell.process.sentinel for cell in running if not cell.orphan]
        for source in wait([*pipes, *deaths], timeout=_POLL):
            if source in pipes:
                _drain(pipes[source], listener)  # type: ignore[index]

    def _advance(self, running: list[_Running], over: _Over, listener: Listener) -> list[_Running]:
        """Move jobs whose stage has ended to their next one, or to ``over``; return those that run."""
        still: list[_Running] = []
        for cell in running:
            ended = self._ended(cell, listener)
            if ended is None:
                still.append(cell)
                continue
            self._kill(cell)  # also what the stage started and left behind
            task = cell.task
            if isinstance(ended, _Died):
                listener.repeated(task.job, task.stage, ended.reason)
                self._start(ended.task, still, over, listener)
            elif ended.status == "timeout" and _can_be_rescued(task) and not self.stopping:
                self._start(_Task(task.job, task.slot, task.job.rescue, ended.seconds, timed_out=ended), still, over, listener)
            elif ended.status != "ok" or len(task.stages) == 1:
                over.append((task, _rescued(task.timed_out, ended) if task.timed_out else ended))
            elif self.stopping:
                over.append((task, Outcome("interrupted", "the run was stopped between its stages", "", ended.seconds)))
            else:
                self._start(replace(task, stages=task.stages[1:], seconds=ended.seconds, kills=0, losses=0), still, over, listener)
        return still

    def _ended(self, cell: _Running, listener: Listener) -> Outcome | _Died | None:
        """Say how a stage ended, or ``None`` while it runs."""
        code = None if cell.orphan else cell.process.exitcode
        if cell.end is None and code is not None:
            _drain(cell, listener)  # its last words may have come after the last look
        if cell.end is not None:
            return replace(cell.end, seconds={**_spent(cell), **cell.end.seconds})
        # The exit code of a process whose server is gone is not known. It may well live, and say how it ends.
        if code == _UNKNOWN and not self.stopping and self.server.gone(cell.server):
            cell.orphan, code = True, None
        dead = code is not None or (cell.orphan and cell.closed is not None)
        if dead and self.stopping:
            # A signal to the whole process group (a batch system, `timeout`) also ends the server, and with it our knowledge.
            return _interrupted(cell)
        if dead:
            return _lost(cell) if code is None else _died(cell, code)
        if self.timeout is not None and time.monotonic() - cell.started > self.timeout:
            return Outcome("timeout", f"stage {cell.task.stage} took longer than {self.timeout:g} s", "", _spent(cell))
        if cell.closed is not None and time.monotonic() - cell.closed > self.server.silence:
            self.server.end()  # it should have told an exit code long ago
        return None

    def _kill(self, cell: _Running) -> None:
        """End a cell's process and its whole group, and let go of both."""
        pid, process = cell.process.pid, cell.process
        signs = [cell.connection] if cell.orphan else [cell.connection, process.sentinel]
        if cell.end is not None:
            wait(signs, _REAPING)  # it has sent its outcome and is about to exit
        with contextlib.suppress(ProcessLookupError):
            if not cell.orphan:
                process.kill()
            elif cell.closed is None:  # else it is dead, and its number may be that of another process by now
                os.kill(pid, signal.SIGKILL)
        if pid and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        process.join(min(_REAPING, self.server.silence))
        if process.exitcode is None:
            # Whoever waits for this process, as Python itself does when the program ends, would wait for ever.
            self.server.end()
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


def _can_be_rescued(task: _Task) -> bool:
    return bool(task.job.rescue) and task.timed_out is None and task.stage not in task.job.rescue


def _rescued(timed_out: Outcome, ended: Outcome) -> Outcome:
    """Return how a job ended whose time had run out: so, whatever its stages to the rescue came to."""
    if ended.status == "interrupted":
        return ended
    reason = timed_out.reason if ended.status == "ok" else f"{timed_out.reason}; nothing of it was judged: {ended.reason}"
    return replace(timed_out, reason=reason, seconds=ended.seconds, traceback=ended.traceback, accuracy=ended.accuracy)


def _tell(queue: Queue, job: Job, outcome: Outcome, listener: Listener) -> None:
    """Tell the end of a job, and of those that now can never start."""
    listener.finished(job, outcome)
    # After an interrupt nothing more starts, so what waits is still to be done and has not failed.
    if outcome.status != "interrupted":
        for lost, reason in queue.ended(job, outcome):
            listener.finished(lost, reason)


def _died(cell: _Running, code: int) -> Outcome | _Died:
    """Name the death of a process that said nothing; one that was killed from outside is run once more."""
    if code == -signal.SIGKILL and _oom_kills() > cell.kills_before:
        return _out_of_memory(cell)
    if code >= 0:
        return Outcome("failed", f"its process ended with exit code {code}", "", _spent(cell))
    reason = f"its process was ended by signal {-code}{_signal_name(-code)}"
    if -code not in _FROM_OUTSIDE:
        return Outcome("failed", reason, "", _spent(cell))
    if cell.task.kills:
        return Outcome("failed", f"{reason}; it was run once more after the same had happened before", "", _spent(cell))
    return _Died(reason, replace(cell.task, kills=1))


def _lost(cell: _Running) -> Outcome | _Died:
    """Name the death of a process whose server is gone, so that nobody knows how it ended."""
    if _oom_kills() > cell.kills_before:
        return _out_of_memory(cell)
    reason = "its process ended together with the server that had started it"
    losses = cell.task.losses + 1
    if losses == _LOSSES:
        return Outcome("failed", f"{reason}, {losses} times", "", _spent(cell))
    return _Died(reason, replace(cell.task, losses=losses))


def _out_of_memory(cell: _Running) -> Outcome:
    return Outcome("oom", "the system killed its process because memory ran out", "", _spent(cell))


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return f" ({signal.Signals(number).name})"
    return ""


def _interrupted(cell: _Running) -> Outcome:
    return Outcome("interrupted", f"the run was stopped in stage {cell.task.stage}", "", _spent(cell))


def _spent(cell: _Running) -> dict[str, float]:
    return {**cell.task.seconds, cell.task.stage: round(time.monotonic() - cell.started, 3)}


def _drain(cell: _Running, listener: Listener) -> None:
    """Take every event that lies in the pipe, and note its end."""
    while cell.end is None and (event := _next_event(cell)):
        if event["event"] == "end":
            cell.end = Outcome.from_json(event["outcome"])
        else:
            listener.progressed(cell.task.job, cell.task.stage, event["step"], event["total"], event["scalars"])


def _next_event(cell: _Running) -> dict[str, Any] | None:
    try:
        return json.loads(cell.connection.recv_bytes()) if cell.connection.poll() else None
    except (EOFError, OSError):
        cell.closed = cell.closed or time.monotonic()
        return None


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
