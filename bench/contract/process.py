"""The contract in a process of its own, as a plugin may do anything to the one it is in. Free of torch until that starts."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError
from ..sweep.running.numerics import one_thread_environment, settled

if TYPE_CHECKING:
    from .examine import Finding


def examined_in_a_process(file: str, data_root: Path) -> Iterator[Finding]:
    """Yield what ``examine`` finds; a process that ends before its time is a finding, too.

    Args:
        file: path of the plugin file.
        data_root: folder of the data sets.

    Raises:
        BenchError: the file does not import, or registers nothing.
    """
    from .examine import Finding

    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="ddbench-check-") as scratch:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=child_main, args=(file, str(data_root), scratch, theirs))
        with one_thread_environment({}):
            child.start()
        theirs.close()
        under_way: dict[str, str] = {}
        try:
            for event in _events(ours):
                if "error" in event:
                    raise BenchError(event["error"])
                if "end" in event:
                    return
                if "begun" in event:
                    under_way = event["begun"]
                else:
                    yield Finding(**{**event["finding"], "trace": tuple(event["finding"]["trace"])})
            child.join()
            how = f"the process ended with exit code {child.exitcode}; a plugin must not end the process it is in"
            if not under_way:
                raise BenchError(f"plugin file '{file}' does not import: {how}")
            yield Finding(under_way["subject"], under_way["check"], "FAILED", how)
        finally:
            child.kill()
            child.join()


def _events(connection: Connection) -> Iterator[dict[str, Any]]:
    """Yield what the process tells, until it ends."""
    while True:
        try:
            yield json.loads(connection.recv_bytes())
        except (EOFError, OSError):  # OSError: it ended amid a word
            return


def child_main(file: str, data_root: str, scratch: str, connection: Connection) -> None:
    """Examine a file in this fresh process and tell everything through ``connection``; what plugins print is no finding."""
    os.dup2(2, 1)

    def tell(**event: Any) -> None:
        connection.send_bytes(json.dumps(event).encode())

    def begun(subject: str, check: str) -> None:
        tell(begun={"subject": subject, "check": check})

    with settled():
        from ..data import DataOptions
        from .examine import examine

        options = DataOptions(Path(data_root), download=False)
        try:
            for finding in examine(file, options, Path(scratch), begun):
                tell(finding=asdict(finding))
        except BenchError as error:
            tell(error=str(error))
        else:
            tell(end=True)
