"""Standard output and standard error as they are in life: closed, full, or read by somebody who has seen enough."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from ..errors import reason_of


class Output:
    """A stream that takes everything: once it cannot be written any more, what is written to it is lost quietly.

    A sweep of hours must not end because its words have nowhere to go.

    Attributes:
        problem: why words were lost; empty if none were, or if their reader left on purpose.
    """

    def __init__(self, stream: TextIO) -> None:
        """Stand before ``stream``."""
        self._stream = stream
        self.problem = ""

    def write(self, text: str) -> int:
        """Write, or lose, a text; return its length."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what is still held back."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        """Be like the stream in everything else: its encoding, whether it is a terminal."""
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BrokenPipeError:
            self._leave()
        except OSError as error:
            self.problem = self.problem or reason_of(error)
            self._leave()

    def _leave(self) -> None:
        """Lose what is held back and all that comes, also what the interpreter writes when it ends."""
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def patient_output() -> Iterator[Output]:
    """Put such streams into the place of both standard ones, and yield the one for output."""
    _open_closed_ones()
    with contextlib.ExitStack() as stack:
        streams = []
        for stream in (sys.stdout, sys.stderr):
            # Python has none where the program was started with the stream closed.
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8")) if stream is None else stream
            streams.append(Output(nowhere))
        stack.enter_context(contextlib.redirect_stdout(cast(TextIO, streams[0])))
        stack.enter_context(contextlib.redirect_stderr(cast(TextIO, streams[1])))
        yield streams[0]


def _open_closed_ones() -> None:
    """Open the first three descriptors if they are closed, or the next file that is opened would pass for standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
