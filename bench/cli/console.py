"""What a sweep prints: its plan, its cells as they end, and what is to be said at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..sweep.listener import SweepListener
from ..sweep.running.executor import Job
from ..sweep.running.stage import Outcome

if TYPE_CHECKING:
    from ..sweep.planning.estimate import Estimate
    from ..sweep.planning.plan import Plan
    from .progress import Progress


def warn(warning: str) -> None:
    """Print a warning where errors go."""
    print(f"ddbench: warning: {warning}", file=sys.stderr)


class Console(SweepListener):
    """Prints how a sweep goes; leave the ``with`` block to take moving bars off the screen, however it ended."""

    def __init__(self, full: bool) -> None:
        """Print one line per cell of the plan if ``full``, else its seeds taken together."""
        self.full = full
        self._open = contextlib.ExitStack()
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the progress display."""
        self._open.close()

    def warned(self, warning: str) -> None:
        """Print it."""
        warn(warning)

    def planned(self, plan: Plan, estimates: Mapping[str, Estimate], slots: int) -> None:
        """Print the plan and the time it will take."""
        from ..sweep.planning import estimate
        from . import table
        from .progress import Countdown, make_progress

        print((table.full_table if self.full else table.short_table)(plan.cells, estimates))
        print(table.counts(plan.cells))
        for sentence in filter(None, (*plan.left_out, plan.built_first)):
            print(sentence)
        print(estimate.summary(estimates, slots), flush=True)
        if estimates and not self.full:
            total = len(plan.cells)
            self._progress = self._open.enter_context(make_progress(total, total - len(estimates), Countdown(estimates)))

    def stage_started(self, job: Job, stage: str) -> None:
        """Pass it on to the progress display."""
        if self._progress is not None:
            self._progress.stage_started(job, stage)

    def progressed(self, job: Job, stage: str, step: int, total: int, scalars: dict[str, float]) -> None:
        """Pass it on to the progress display."""
        if self._progress is not None:
            self._progress.progressed(job, stage, step, total, scalars)

    def repeated(self, job: Job, stage: str, reason: str) -> None:
        """Pass it on to the progress display."""
        if self._progress is not None:
            self._progress.repeated(job, stage, reason)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Pass it on to the progress display."""
        if self._progress is not None:
            self._progress.finished(job, outcome)

    def executed(self, lines: Sequence[str]) -> None:
        """End the progress display, and print the lines."""
        self._open.close()
        for line in lines:
            print(line)
