"""The trials of a method, one JSON object a line, beside its recipes. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ..errors import BenchError, reason_of
from ..files import read_text, write_text
from ..schema import STRICT, Amount, Count, DataSetName, Free, Key, Line, Positive, Schema

Accuracy = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class TuningTrial:
    """One setting that was tried on val.

    Attributes:
        keys: those of its cells, one for each seed; what was tried is not tried again.
        method: the request without what was searched, e.g. ``random[form=tiles]``.
        number: 0 is what stood before, later ones were drawn.
        fields: what was drawn for this trial.
        parts: what the method was made of, e.g. ``{"form": "tiles", "objective": "none"}``.
        dataset: name.
        data_hash: fingerprint of its training and validation images.
        budget: as it was asked for.
        ipc: the same in images per class, on which recipe rules match.
        steps: outer steps that were taken; 0 for methods that take none.
        seeds: distillation seeds.
        students: students for each seed.
        protocol: hash of how students were trained.
        draw: seed of the search.
        status: ``ok``, or how it ended.
        reason: a sentence where it did not end well.
        val: mean accuracy on val for each seed; empty where it did not end well.
        seconds: of distilling and of scoring, all seeds together.
        code_hash: of the method's program text.
    """

    __pydantic_config__ = STRICT

    keys: tuple[Key, ...]
    method: Line
    number: Count
    fields: Free
    parts: dict[str, str]
    dataset: DataSetName
    data_hash: Line
    budget: Line
    ipc: Amount
    steps: Count
    seeds: tuple[Count, ...]
    students: Positive
    protocol: Line
    draw: Count
    status: Line
    reason: str
    val: tuple[Accuracy, ...]
    seconds: Amount
    code_hash: Line

    @property
    def score(self) -> float:
        """Mean over seeds; below every accuracy where the trial failed."""
        return sum(self.val) / len(self.val) if self.val else -1.0


_TRIAL: Schema[TuningTrial] = Schema(TuningTrial)


def read_trials(file: Path) -> list[TuningTrial]:
    """Return the trials of a file, none if it is not there.

    Raises:
        BenchError: a line is no trial, or the file cannot be read.
    """
    try:
        lines = read_text(file).splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise BenchError(f"the trials in '{file}' cannot be read ({reason_of(error)}); move the file away or mend it") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_TRIAL.read(line))
        except ValueError as error:
            raise BenchError(f"line {number} of '{file}' is no trial ({error}); remove the line, or move the file away") from error
    return found


def write_trials(file: Path, trials: Iterable[TuningTrial]) -> None:
    """Replace the file by these trials, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_text(file, "".join(json.dumps(asdict(trial), ensure_ascii=False) + "\n" for trial in trials))
