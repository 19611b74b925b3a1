"""Which settings are tried: what stands in the recipe, and settings drawn from what is declared, all planned as cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..brackets import Request, written
from ..errors import BenchError
from ..keys import plain
from ..method import Method
from ..prerequisite_store import PrerequisiteStore
from ..search import draw_settings
from ..sweep.planning.plan import Plan, PlannedCell
from ..sweep.planning.planner import Planner, granted
from ..sweep.settings import RunSettings
from ..sweep.store import Store
from .settings import TuningSettings
from .trials import TuningTrial

_HORIZON = "outer_iterations"
_ROUNDS = 5  # times that settings are drawn anew for those that a method refused


@dataclass(frozen=True)
class Candidate:
    """A trial before it is run.

    Attributes:
        trial: all that is known of it.
        cells: one for each seed.
        plan: to which they belong.
    """

    trial: TuningTrial
    cells: tuple[PlannedCell, ...]
    plan: Plan

    @property
    def keys(self) -> tuple[str, ...]:
        """Those of its cells."""
        return self.trial.keys


def plan_trials(settings: RunSettings, request: Request, method: type[Method], tuning: TuningSettings, store: Store) -> list[Candidate]:
    """Plan what stands, and draw settings until so many are not refused.

    Raises:
        BenchError: what stands is refused, or nothing that is drawn is not.
    """
    planner = _Planner(settings, request, tuning, PrerequisiteStore(store.prerequisites))
    standing = planner.plan([{}])
    if not standing:
        raise BenchError(f"nothing to tune: {planner.refusal}")
    found = {candidate.keys: candidate for candidate in standing}
    space = method.search_space(request.fields)
    for number in range(1, _ROUNDS + 1):
        missing = tuning.trials - len(found)
        if missing <= 0:
            break
        drawn = draw_settings(space, (tuning.trials - 1) * number, tuning.draw)[planner.tried :]
        for candidate in planner.plan(drawn[:missing]):
            found.setdefault(candidate.keys, candidate)
    return list(found.values())


@dataclass
class _Planner:
    """Plans drawn settings as cells.

    Attributes:
        settings: of the run.
        request: what is tuned.
        tuning: how.
        prerequisites: what planning looks into.
        tried: how many drawn settings were planned.
        refusal: why the last one was refused.
    """

    settings: RunSettings
    request: Request
    tuning: TuningSettings
    prerequisites: PrerequisiteStore
    tried: int = 0
    refusal: str = ""
    _number: int = 0
    _horizon: dict[str, Any] = field(default_factory=dict)
    _effort: float = 1.0

    def plan(self, drawn: Sequence[Mapping[str, Any]]) -> list[Candidate]:
        """Return those of the settings that are not refused."""
        if not drawn:
            return []
        if not self._number:
            self._shorten()
        else:
            self.tried += len(drawn)
        labels = {self._label(fields): dict(fields) for fields in drawn}
        try:
            plan = self._planned(tuple(labels))
        except BenchError as error:  # all are refused
            self.refusal = str(error)
            return []
        found = []
        for label, fields in labels.items():
            cells = tuple(cell for cell in plan.cells if label in (cell.cell.label, *cell.cell.aliases))
            refused = [cell.reason for cell in cells if cell.state != "pending"]
            if refused or len(cells) < len(self.settings.seeds):
                self.refusal = (refused or [""])[0]
                continue
            found.append(self._candidate(fields, cells, plan))
            self._number += 1
        return found

    def _shorten(self) -> None:
        """Find out how many steps the recipe takes, and bring it down to those of a trial."""
        cell = self._planned((self.request.label,)).cells[0].cell
        if cell.outer_steps > self.tuning.steps:
            if _HORIZON in cell.fields:
                self._horizon = {_HORIZON: self.tuning.steps}
            else:  # a method that counts its steps otherwise
                self._effort = self.tuning.steps / cell.outer_steps

    def _label(self, fields: Mapping[str, Any]) -> str:
        everything = {**self.request.fields, **self._horizon, **fields}
        return written(self.request.name, everything) if everything else self.request.name

    def _planned(self, labels: tuple[str, ...]) -> Plan:
        return Planner(replace(self.settings, methods=labels, effort=self._effort), self.prerequisites).plan()

    def _candidate(self, fields: Mapping[str, Any], cells: tuple[PlannedCell, ...], plan: Plan) -> Candidate:
        cell = cells[0].cell
        trial = TuningTrial(
            keys=tuple(planned.key for planned in cells),
            method=self.request.label,
            number=self._number,
            fields=plain({**self._horizon, **fields}),
            parts=dict(cell.parts),
            dataset=cell.dataset,
            data_hash=cell.data_hash,
            budget=cell.budget["requested"],
            ipc=granted(cell.budget["requested"], plan.datasets[cell.dataset]).asked_ipc,
            steps=cell.outer_steps,
            seeds=self.settings.seeds,
            students=self.settings.students,
            protocol=str(cell.protocol["hash"]),
            draw=self.tuning.draw,
            status="interrupted",
            reason="",
            val=(),
            seconds=0.0,
            code_hash=cell.code_hash,
        )
        return Candidate(trial, cells, plan)
