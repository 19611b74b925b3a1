"""What a tuning is asked to do. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TuningSettings:
    """What a tuning has beside the settings of a run, of which it takes one method, one data set and one budget.

    Attributes:
        trials: settings that are tried, what stands included.
        steps: outer steps of a trial, at the most.
        draw: seed of the search; equal ones try the same settings.
        into: folder of the trials and the recipe file; ``None`` is where the method's recipes lie.
    """

    trials: int = 12
    steps: int = 300
    draw: int = 0
    into: Path | None = None
