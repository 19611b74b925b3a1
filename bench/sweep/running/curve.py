"""What becomes of the sets that a method offers on its way: points of its curve, and the set that is there when the time runs out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ...distilled import DistilledSet
from ...record_parts import Curve, CurvePoint
from ..curve_steps import curve_steps
from .checkpoint import CheckpointFile

#: Seconds between two kept sets, or this share of the time so far where that is less: the time may run out early.
_KEEP_EVERY, _KEEP_SHARE = 30.0, 0.1


@dataclass
class OnTheWay:
    """Looks at the sets that are offered. Time that goes into it is no distillation time, and nothing of it comes back to the method.

    Attributes:
        checkpoint: holds the clock, and the points so far, which so outlive an interruption.
        score: returns the val accuracy of every student, or ``None`` if no curve is wanted.
        chance: val accuracy of whoever always says the largest class.
        keep: keeps a set with its step for the case that the time runs out, or ``None``.
    """

    checkpoint: CheckpointFile
    score: Callable[[DistilledSet], list[float]] | None = None
    chance: float = 0.0
    keep: Callable[[DistilledSet, int], None] | None = None
    _kept: float = field(default=0.0)

    def reported(self, scalars: Mapping[str, float]) -> None:
        """Take the loss of a step into the mean that belongs to the next point."""
        loss = float(scalars.get("loss", math.nan))
        if self.score is not None and math.isfinite(loss):
            self.checkpoint.losses = [self.checkpoint.losses[0] + loss, self.checkpoint.losses[1] + 1]

    def offered(self, step: int, total: int, make: Callable[[], DistilledSet], schedule: str) -> None:
        """Score the set if its step is one of the curve's, and keep it if the last one that was kept is old."""
        seconds = self.checkpoint.seconds()
        with self.checkpoint.paused():
            if self.score is not None and step in curve_steps(total) and step > self._last_step():
                self._score(step, total, make, schedule, seconds)
            if self.keep is not None and seconds - self._kept >= min(_KEEP_EVERY, _KEEP_SHARE * seconds) and step < total:
                self.keep(make(), step)
                self._kept = seconds

    def _last_step(self) -> int:
        curve = self.checkpoint.curve
        return curve["points"][-1]["step"] if curve else 0

    def _score(self, step: int, total: int, make: Callable[[], DistilledSet], schedule: str, seconds: float) -> None:
        """Add a point. A set that cannot be scored has none: what is wrong with the last one is the judge's to say."""
        assert self.score is not None
        started = time.monotonic()
        try:
            point = CurvePoint(step=step, seconds=round(seconds, 3), val=self.score(make()))
        except Exception as error:
            sys.stdout.write(f"warning: no point of the curve at step {step}: {type(error).__name__}: {error}\n")
            return
        total_loss, count = self.checkpoint.losses
        if count:
            point["loss"] = total_loss / count
        self.checkpoint.losses = [0.0, 0.0]
        before = self.checkpoint.curve or Curve(version=1, horizon=total, schedule=schedule, chance=self.chance, seconds=0.0, points=[])
        spent = round(before["seconds"] + time.monotonic() - started, 3)
        self.checkpoint.curve = Curve(
            version=1, horizon=total, schedule=schedule, chance=self.chance, seconds=spent, points=[*before["points"], point]
        )
