"""The inside of a stage's process: its own group, its own log, and an end that comes with its parent's."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ...errors import reason_of
from .stage import Outcome, Payload, Report, run_stage

Emit = Callable[[dict[str, Any]], None]

_REPORT_EVERY = 0.2  # seconds between progress events, so that a fast method does not drown the runner


def child_main(stage: str, payload_text: str, connection: Connection) -> None:
    """Run one stage in this fresh process and report its end through ``connection``; never returns.

    Args:
        stage: see ``bench.sweep.running.stage.STAGES``.
        payload_text: JSON of a ``Payload``.
        connection: takes JSON events: ``progress``, and one ``end`` with the ``Outcome``.
    """
    _leave_group()
    _end_with_parent()
    payload = Payload.from_json(payload_text)
    lock = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        with lock:
            connection.send_bytes(json.dumps(event).encode())

    outcome = _logged(stage, payload, throttled(emit))
    emit({"event": "end", "outcome": outcome.to_json()})
    connection.close()
    # No exit handlers: threads a plugin left behind must not keep the stage from ending.
    os._exit(0)


def _logged(stage: str, payload: Payload, report: Report) -> Outcome:
    """Run a stage with its words in its log; how it ends is told also where there is no room for them."""
    log = Path(payload.out) / payload.log
    try:
        _redirect(log, stage)
    except OSError as error:
        return Outcome("failed", f"its log '{log}' cannot be written: {reason_of(error)}")
    from ...nn.runtime import tune_allocator

    tune_allocator()
    outcome = run_stage(stage, payload, report)
    with contextlib.suppress(OSError):
        sys.stderr.write(outcome.traceback)
        sys.stdout.flush()
        sys.stderr.flush()
    return outcome


def throttled(emit: Emit) -> Report:
    """Return a function of (step, total, scalars) that passes a few progress events per second on, and the last one."""
    last = [0.0]

    def report(step: int, total: int, scalars: dict[str, float]) -> None:
        now = time.monotonic()
        if now - last[0] >= _REPORT_EVERY or step >= total:
            last[0] = now
            emit({"event": "progress", "step": step, "total": total, "scalars": scalars})

    return report


def _leave_group() -> None:
    """Start a process group of its own, which a timeout or an interrupt can end as a whole."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(PermissionError):  # already a leader
            os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_parent() -> None:
    """End this whole process group as soon as the runner is gone, even if it was killed with signal 9.

    The system could send a signal at the parent's death (PR_SET_PDEATHSIG), but that reaches this process alone and
    would keep it from ending its own children.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _redirect(log: Path, stage: str) -> None:
    """Send everything this process writes to the log, also what native code and its children write."""
    log.parent.mkdir(parents=True, exist_ok=True)
    stream = log.open("a", buffering=1, encoding="utf-8")
    stream.write(f"--- {stage}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
