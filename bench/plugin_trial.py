"""Plugin files that a user names are imported in another process first: one that ends its process, or never ends, shows there."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from .errors import BenchError
from .own_process import start_serving
from .registry import discover, is_loaded, load_plugin_file

_LIMIT = 60.0  # seconds that one process gets to import all of them
_START = 120.0  # seconds that it gets before, for the suite's own plugins and the installed ones; a machine may be busy
_POLL = 0.1  # seconds between looks at how far it is

_READY = "."


def discover_tried(files: Sequence[str], limit: float = _LIMIT) -> None:
    """Import every plugin as ``registry.discover`` does, ``files`` after a trial.

    Those that this process has imported before are not tried again.

    Args:
        files: plugin files named by the user.
        limit: seconds that the files may take.

    Raises:
        BenchError: a file does not import, ends the process that imports it, or does not come to an end.
    """
    fresh = [file for file in files if Path(file).is_file() and not is_loaded(file)]
    if fresh:
        _try(fresh, limit)
    discover(tuple(files))


def _try(files: Sequence[str], limit: float) -> None:
    # A file, not a pipe: a process that a plugin leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as answers:
        trial = start_serving("bench.plugin_trial", stdout=answers, stderr=subprocess.DEVNULL)
        with trial:
            try:
                ended = _comes_to_an_end(trial, json.dumps({"path": sys.path, "files": list(files)}), answers, limit)
            finally:
                trial.kill()  # also after Ctrl-C
        answers.seek(0)
        answer = answers.read().decode()
    if answer.startswith(_READY):  # else it broke before it came to the files, and tells nothing about them
        _refuse(files, answer, _end(trial.returncode) if ended else f"is not done after {limit:g} s")
    elif not ended:
        raise BenchError(
            f"'{files[0]}' cannot be tried: the installed plugins are not imported after {_START:g} s; take out the one that hangs"
        )


def _comes_to_an_end(trial: subprocess.Popen[str], asked: str, answers: IO[bytes], limit: float) -> bool:
    """Wait for a trial; its files have ``limit`` seconds from when it says that it is ready for them."""
    given: str | None = asked
    ready, deadline = False, time.monotonic() + _START
    while time.monotonic() < deadline:
        try:
            trial.communicate(given, _POLL)
            return True
        except subprocess.TimeoutExpired:
            given = None
        if not ready and os.fstat(answers.fileno()).st_size:
            ready, deadline = True, time.monotonic() + limit
    return False


def _refuse(files: Sequence[str], answer: str, what: str) -> None:
    """Name the file at which a trial stopped, unless it came to its end."""
    done = answer.count("+")
    if done < len(files):
        raise BenchError(f"plugin file '{files[done]}' does not import: importing it {what}; take out what does so")


def _end(code: int) -> str:
    return f"ended the process with exit code {code}" if code >= 0 else f"ended the process by signal {-code}"


def serve() -> None:
    """Be the other process: get ready, import the files, and answer with a plus sign for each; what they print is lost."""
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        asked = json.loads(sys.stdin.read())
        sys.path[:] = asked["path"]
        discover()
        answer.write(_READY)
        answer.flush()
        for file in asked["files"]:
            # An ordinary error is told when the file is imported in earnest.
            with contextlib.suppress(BenchError):
                load_plugin_file(file)
            answer.write("+")
            answer.flush()
    # No exit handlers, nor threads that go on.
    os._exit(0)
