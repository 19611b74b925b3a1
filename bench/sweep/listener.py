"""What a sweep tells while it runs. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .running.executor import Job
from .running.stage import Outcome

if TYPE_CHECKING:
    from .planning.estimate import Estimate
    from .planning.plan import Plan


class SweepListener:
    """Hears how a sweep goes and says nothing; override the methods you care for.

    Example:
        >>> from bench import SweepListener
        >>> class Counter(SweepListener):
        ...     def planned(self, plan, estimates, slots):
        ...         print(len(plan.cells), "cells,", len(estimates), "to run")
        >>> from bench import run_sweep, settings
        >>> small = settings(methods="random", budgets=[1], seeds=2, no_reference=True)
        >>> result = run_sweep(small, Counter(), out="nowhere", dry_run=True)
        2 cells, 2 to run
    """

    def warned(self, warning: str) -> None:
        """Something is odd, e.g. a record that cannot be read; the sweep goes on."""

    def planned(self, plan: Plan, estimates: Mapping[str, Estimate], slots: int) -> None:
        """All cells are resolved; ``estimates`` holds those that will run, by key, and ``slots`` run at a time."""

    def stage_started(self, job: Job, stage: str) -> None:
        """A stage of a cell, or of a prerequisite, has its process."""

    def progressed(self, job: Job, stage: str, step: int, total: int, scalars: dict[str, float]) -> None:
        """A stage says how far it is."""

    def repeated(self, job: Job, stage: str, reason: str) -> None:
        """The process of a stage was ended from outside, and the stage runs again."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """A cell or a prerequisite has ended, well or badly, or was interrupted."""

    def executed(self, lines: Sequence[str]) -> None:
        """All cells have ended, and the report comes next; ``lines`` say how many ended how."""
