"""What is shown while a sweep runs: bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from ..sweep.planning.estimate import Estimate, readable
from ..sweep.running.executor import Job
from ..sweep.running.stage import Outcome

_LINE_EVERY = 30.0  # seconds between progress lines of one cell


@dataclass
class Countdown:
    """Guesses the time that is left, from estimates and from how true they were so far.

    Attributes:
        estimates: by key.
        done: which fraction of a cell is done, by key.
    """

    estimates: Mapping[str, Estimate]
    started: float = field(default_factory=lambda: time.monotonic())
    done: dict[str, float] = field(default_factory=dict)

    def progressed(self, key: str, stage: str, fraction: float) -> None:
        """Note how far a stage of a cell is; of other stages than these two no estimate knows, nor of prerequisites."""
        if key not in self.estimates or stage not in ("distil", "judge"):
            return
        distil, judge = (self.estimates[key].distil or 0.0), (self.estimates[key].judge or 0.0)
        spent = distil * fraction if stage == "distil" else distil + judge * fraction
        self.done[key] = spent / (distil + judge) if distil + judge else 0.0

    def left(self) -> float | None:
        """Return the seconds that are left, or ``None`` while nothing can be said."""
        spent = time.monotonic() - self.started
        weight = {key: max(estimate.seconds, 1.0) for key, estimate in self.estimates.items()}
        finished = sum(weight[key] * fraction for key, fraction in self.done.items())
        return spent * (sum(weight.values()) - finished) / finished if finished else None


class Progress:
    """Plain lines: one when a cell ends, and at most one per cell and half minute on the way."""

    def __init__(self, total: int, already: int, countdown: Countdown, out: TextIO | None = None) -> None:
        """Prepare.

        Args:
            total: all cells of the plan.
            already: those that need no running.
            countdown: guesses the time that is left.
            out: where lines go; standard output by default.
        """
        self.total, self.done = total, already
        self.countdown = countdown
        self.out = out or sys.stdout
        self._spoke: dict[str, float] = {}

    def __enter__(self) -> Progress:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; nothing is left on the screen that moves."""

    def stage_started(self, job: Job, stage: str) -> None:
        """Note when the cell began, so that its first progress line waits."""
        self._spoke.setdefault(job.key, time.monotonic())

    def progressed(self, job: Job, stage: str, step: int, total: int, scalars: Mapping[str, float]) -> None:
        """Print a line if the cell has been silent for half a minute."""
        self.countdown.progressed(job.key, stage, step / max(1, total))
        now = time.monotonic()
        if now - self._spoke.get(job.key, now) < _LINE_EVERY:
            return
        self._spoke[job.key] = now
        values = "".join(f", {key} {value:.4g}" for key, value in list(scalars.items())[:3])
        self.say(f"[{self.done}/{self.total}] {job.payload.title}: {stage} {step}/{total}{values}")

    def repeated(self, job: Job, stage: str, reason: str) -> None:
        """Print why a stage runs once more."""
        self.say(f"[{self.done}/{self.total}] {job.payload.title}: {stage} runs once more, {reason}")

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Print how a cell ended, and what is left."""
        interrupted = outcome.status == "interrupted"  # the run is over, and this cell is still to be done
        if not interrupted and job.payload.cell is not None:
            self.done += 1
            self.countdown.done[job.key] = 1.0
        left = "" if interrupted else self._left()
        self.say(f"[{self.done}/{self.total}] {job.payload.title}: {ending(outcome)}{left}")

    def _left(self) -> str:
        left = self.countdown.left()
        # Nothing left of cells that still run only means that no estimate knows of what they are doing.
        return f", about {readable(left)} left" if left is not None and left >= 1 and self.done < self.total else ""

    def say(self, line: str) -> None:
        """Print a line at once."""
        print(line, file=self.out, flush=True)


def ending(outcome: Outcome) -> str:
    """Return the end of a cell in a few words: ``ok 61.2 % (14 s)`` or ``failed: why (14 s)``."""
    seconds = f"({readable(sum(outcome.seconds.values()))})"
    if outcome.status == "ok":
        return f"ok {seconds}" if outcome.accuracy is None else f"ok {100 * outcome.accuracy:.1f} % {seconds}"
    return f"{outcome.status}: {outcome.reason} {seconds}"


class Bars(Progress):
    """Bars on a terminal: one for the sweep with counts and time left, one for every cell that runs."""

    def __enter__(self) -> Bars:
        """Show the bars."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        console = Console(file=self.out)
        name, note = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
        self._rich: Any = RichProgress(name, BarColumn(bar_width=24), note, console=console)
        self._bars: dict[str, Any] = {}
        self._sweep = self._rich.add_task("sweep", total=self.total, completed=self.done, note=f"{self.done}/{self.total}")
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._rich.stop()

    def stage_started(self, job: Job, stage: str) -> None:
        """Give the stage a fresh bar."""
        self._drop(job)
        name = job.payload.title
        self._bars[job.key] = self._rich.add_task(f"  {name}", total=None, note=stage)

    def progressed(self, job: Job, stage: str, step: int, total: int, scalars: Mapping[str, float]) -> None:
        """Move the bar of a cell, and with it the time that is left."""
        self.countdown.progressed(job.key, stage, step / max(1, total))
        self._count()
        values = "".join(f" {key} {value:.4g}" for key, value in list(scalars.items())[:2])
        self._rich.update(self._bars[job.key], total=total, completed=step, note=f"{stage} {step}/{total}{values}")

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Print the line of the cell above the bars, and move the bar of the sweep."""
        self._drop(job)
        super().finished(job, outcome)
        self._count()

    def _count(self) -> None:
        self._rich.update(self._sweep, completed=self.done, note=f"{self.done}/{self.total}{self._left()}")

    def _drop(self, job: Job) -> None:
        if job.key in self._bars:
            self._rich.remove_task(self._bars.pop(job.key))

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)


def make_progress(total: int, already: int, countdown: Countdown) -> Progress:
    """Return bars where standard output is a terminal, plain lines otherwise."""
    kind = Bars if sys.stdout.isatty() else Progress
    return kind(total, already, countdown)
