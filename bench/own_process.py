"""Processes that run this very copy of the suite, for what must not happen in the process that asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO


def start_serving(module: str, stdout: int | IO[bytes], stderr: int | None = None) -> subprocess.Popen[str]:
    """Start a Python process that calls ``serve()`` of a module of ``bench``, with a pipe as its standard input.

    Args:
        module: e.g. ``bench.judge.validation``.
        stdout: as ``subprocess.Popen`` takes it.
        stderr: the same; by default that of this process.
    """
    home = str(Path(__file__).resolve().parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        # -P keeps the current folder off sys.path, where plugin folders could shadow installed packages.
        [sys.executable, "-P", "-c", f"from {module} import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
