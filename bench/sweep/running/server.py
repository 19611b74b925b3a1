"""The process that children are forked from, replaced when it has died or does not answer."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import ModuleType

_FIRST_ANSWER = 10  # times as patient with a server that has not answered yet: it imports torch first
_POLL = 0.2  # seconds between looks at whether the run was stopped
_GRACE = 1.0  # seconds that a start gets to come to its end
_NOTICE = 1.0  # seconds within which the system tells that a process has ended


class NoAnswer(Exception):
    """The server died, or was silent for too long, while it was to start a process; the text says which."""


class ForkServer:
    """Starts processes in a given time or not at all; where there is no fork, it spawns them.

    Children of a server that dies live on, and only their exit codes are lost.
    """

    def __init__(self, preload: Iterable[str], silence: float) -> None:
        """Prepare; nothing is started yet.

        Args:
            preload: modules the server imports once.
            silence: seconds after which a server that does not answer is replaced.
        """
        self.silence = silence
        self.forks = "forkserver" in multiprocessing.get_all_start_methods()
        self.context: BaseContext = multiprocessing.get_context("forkserver" if self.forks else "spawn")
        if self.forks:
            self.context.set_forkserver_preload(list(preload))
        self._answered: int | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server, if there is one."""
        if not self.forks:
            return None
        from multiprocessing import forkserver

        # The standard library tells the id in no other way. Without it, nothing is ever taken for lost or ended.
        return getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)

    def start(self, process: BaseProcess, stopping: Callable[[], bool]) -> bool:
        """Start a process; tell whether it runs, or the run was stopped before.

        Raises:
            NoAnswer: the server died or was silent, and was replaced; the process may or may not have started, and ends itself.
            OSError: the system has no room for another process.
        """
        if not self.forks:
            with _own_main_hidden():
                process.start()
            return True
        limit = self.silence * (1 if self.pid is not None and self.pid == self._answered else _FIRST_ANSWER)
        with _own_main_hidden():
            start = _Start(process)
            over = start.wait(limit, stopping) or start.wait(_GRACE, _never)
            if not over:
                self.end()
                start.wait(_GRACE, _never)
        if not over and stopping():
            return False
        if not over:
            raise NoAnswer(f"was silent for {limit:g} s")
        try:
            start.check()
        except NoAnswer:
            self.gone(self.pid)  # or the next start would ask the same one, which is dead but not yet known to be
            raise
        self._answered = self.pid
        return True

    def end(self) -> None:
        """Kill the server; the next start gets a new one."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.gone(pid)

    def gone(self, pid: int | None) -> bool:
        """Tell whether a server has ended; another one then runs in its place."""
        if pid is None:
            return False
        from multiprocessing import forkserver

        deadline = time.monotonic() + _NOTICE
        while self.pid == pid:
            with _own_main_hidden():
                forkserver.ensure_running()  # type: ignore[attr-defined]
            if self.pid == pid and time.monotonic() > deadline:
                return False
            time.sleep(0.01)  # its files are closed a moment before it counts as ended
        return True


def _never() -> bool:
    return False


class _Start:
    """A process that is started in a thread, since a server that is stopped keeps whoever asks it waiting for ever."""

    def __init__(self, process: BaseProcess) -> None:
        """Start it."""
        self._error: tuple[type[Exception], str] | None = None
        self._thread = threading.Thread(target=self._run, args=(process,), name="start a process", daemon=True)
        self._thread.start()

    def _run(self, process: BaseProcess) -> None:
        try:
            process.start()
        except Exception as error:
            # Not the error itself: its traceback would keep open what the child takes for a sign of life of this process.
            self._error = type(error), str(error)

    def wait(self, seconds: float, stopping: Callable[[], bool]) -> bool:
        """Wait for the end of the start, well or badly, as long as the run is not stopped; tell whether it came."""
        deadline = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < deadline and not stopping():
            self._thread.join(_POLL)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what went wrong.

        Raises:
            NoAnswer: the server died.
            OSError: the system has no room for another process.
            RuntimeError: anything else.
        """
        if self._error is None:
            return
        kind, text = self._error
        if issubclass(kind, (EOFError, ConnectionError)):
            raise NoAnswer("died")
        raise OSError(text) if issubclass(kind, OSError) else RuntimeError(f"{kind.__name__}: {text}")


@contextlib.contextmanager
def _own_main_hidden() -> Iterator[None]:
    """Keep a child from importing the program's own file again: a script without the usual guard would run once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
