"""The plan of a sweep: every cell with everything resolved, its keys, and what earlier runs left of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from ...budget import BudgetRequest
from ...data import DataOptions, Dataset, SplitName, default_data_root, load_dataset
from ...errors import BenchError, unknown_name
from ...judge.protocol import Protocol, get_protocol
from ...keys import digest
from ...method import Method, PlanContext, fields_of
from ...recipes import ResolvedRecipe, check_fields, resolve_recipe
from ...record import SCHEMA, Cell, Kind, Record
from ...registry import DATASETS, METHODS, UNAVAILABLE
from ..settings import RunSettings
from .codehash import code_hash
from .selection import Selection, parse_selections

FULL_DATA = "full-data"
#: Reports mark rows whose notes call their images unofficial.
UNOFFICIAL = "the images are an unofficial copy, read from plain arrays"

State = Literal["cached", "pending", "refused", "failed"]


@dataclass
class PlannedCell:
    """One cell of a plan.

    Attributes:
        cell: what is run.
        key: judge key.
        distil_key: key of the distilled set; empty for the full-data line.
        state: ``cached`` (an earlier run's record stands), ``pending`` (will run), ``refused``, or ``failed`` while
            it was planned.
        reason: a sentence for refusals and failures.
        record: what an earlier run left, if anything.
        stale: the record was made by other code of the method.
        redistil: make the set again although it may be there.
    """

    cell: Cell
    key: str
    distil_key: str
    state: State = "pending"
    reason: str = ""
    record: Record | None = None
    stale: bool = False
    redistil: bool = False


@dataclass
class Plan:
    """All cells of a run, in order.

    Attributes:
        cells: contestants, references and full-data lines, each key once.
        datasets: facts of the data sets by name.
        protocol: how sets are judged.
        options: where the data sets are.
    """

    cells: list[PlannedCell]
    datasets: dict[str, Dataset]
    protocol: Protocol
    options: DataOptions

    def pending(self) -> list[PlannedCell]:
        """Return the cells that need a process."""
        return [planned for planned in self.cells if planned.state == "pending"]


@dataclass(frozen=True)
class _Choice:
    """A method on a data set at a budget, before seeds: what resolving gave."""

    kind: Kind
    selection: Selection
    method: type[Method]
    recipe: ResolvedRecipe
    fields: dict[str, Any]
    adapted: str = ""
    external: str = ""
    notes: tuple[str, ...] = ()
    outer_steps: int = 0
    refusal: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Planner:
    """Makes the plan of one run.

    Attributes:
        settings: what was asked for.
        cache: folder for what resolving wants to keep.
        download: whether missing data sets may be fetched.
    """

    settings: RunSettings
    cache: Path
    download: bool = True
    _hashes: dict[type[Method], str] = field(default_factory=dict)

    def plan(self) -> Plan:
        """Resolve every cell.

        Raises:
            BenchError: a name, field or budget is wrong, a data set is not there, or no cell could ever run.
        """
        protocol, contestants = self.check()
        root = Path(self.settings.data_root) if self.settings.data_root else default_data_root()
        options = DataOptions(root, download=self.download and not self.settings.offline)
        planned: dict[str, PlannedCell] = {}
        datasets = {}
        for name in self.settings.datasets:
            dataset = load_dataset(name, cast(SplitName, self.settings.split), options)
            datasets[name] = dataset
            for cell in self._cells_of(dataset, contestants, protocol):
                if not dataset.official:
                    cell.cell.notes.append(UNOFFICIAL)
                _merge(planned, cell)
        cells = list(planned.values())
        _require_something(cells)
        return Plan(cells, datasets, protocol, replace(options, download=False))

    def check(self) -> tuple[Protocol, tuple[Selection, ...]]:
        """Check every name and field, before anything is read or written.

        Returns:
            The protocol and the contestants.

        Raises:
            BenchError: a name or field is wrong.
        """
        protocol = get_protocol(self.settings.protocol, self.settings.students)
        contestants = self._contestants()
        for name in self.settings.datasets:
            require(DATASETS, name)
        return protocol, contestants

    def _contestants(self) -> tuple[Selection, ...]:
        """Check the names and fields of all methods, and put ``--set`` and ``--config`` into the selections.

        Brackets win over overrides of their field, and a row's name must tell what was changed, so both are shown as
        brackets.
        """
        selections = parse_selections(self.settings.methods)
        for selection in selections:
            check_fields(require(METHODS, selection.name), selection.fields, f"method '{selection.label}'")
        for name, values in self.settings.set.items():
            check_fields(require(METHODS, name), values, f"set '{name}'")
        return tuple(with_overrides(selection, self.settings.set) for selection in selections)

    def _references(self) -> Iterator[Selection]:
        if self.settings.no_reference:
            return
        for name in METHODS:
            for form in METHODS[name].reference_forms:
                variant = ",".join(f"{key}={value}" for key, value in form.items())
                yield with_overrides(Selection(name, variant, form), self.settings.set)

    def _cells_of(self, dataset: Dataset, contestants: Sequence[Selection], protocol: Protocol) -> Iterator[PlannedCell]:
        data_hash = dataset.fingerprint()
        spec = dataset.spec
        wanted = [("contestant", s) for s in contestants] + [("reference", s) for s in self._references()]
        for text in self.settings.budgets:
            budget = BudgetRequest.parse(text).resolve(spec.classes, spec.height, spec.width)
            context = PlanContext(spec, budget, lambda: dataset.train, data_hash, self.cache)
            for kind, selection in wanted:
                choice = self._choose(cast(Kind, kind), selection, context)
                for seed in self.settings.seeds:
                    yield self._planned(choice, context, protocol, seed)
        if not self.settings.no_reference:
            yield self._full_data(dataset, data_hash, protocol)

    def _choose(self, kind: Kind, selection: Selection, context: PlanContext) -> _Choice:
        method_class = METHODS[selection.name]
        recipe = resolve_recipe(method_class, context.spec.name, context.budget.ipc, selection.fields)
        method = build(method_class, recipe.values, selection.label)
        choice = _Choice(kind, selection, method_class, recipe, _plain(fields_of(method)))
        try:
            if refusal := method.refuses(context.spec, context.budget):
                return replace(choice, refusal=refusal)
            resolution = method.resolve(context)
            return replace(
                choice,
                fields=_plain(fields_of(resolution.method)),
                adapted=resolution.adapted,
                external=resolution.external,
                notes=resolution.notes,
                outer_steps=resolution.method.outer_steps(),
            )
        except BenchError:
            raise
        except Exception as error:
            # A plugin that breaks while it is planned fails its own cells only.
            return replace(choice, failure=f"planning failed: {type(error).__name__}: {error}")

    def _planned(self, choice: _Choice, context: PlanContext, protocol: Protocol, seed: int) -> PlannedCell:
        # Effort changes nothing where there are no outer steps, so such cells are the same at every effort.
        effort = self.settings.effort if choice.outer_steps else 1.0
        budget = context.budget
        cell = Cell(
            kind=choice.kind,
            dataset=context.spec.name,
            data_hash=context.data_hash,
            split=self.settings.split,
            method=choice.selection.name,
            variant=choice.selection.variant,
            method_version=choice.method.version,
            fields=choice.fields,
            budget={"requested": budget.requested, "pixels": budget.pixels, "ipc": budget.ipc},
            seed=seed,
            effort=effort,
            protocol=protocol.as_json(),
            code_hash=self._code_hash(choice.method),
            adapted=choice.adapted,
            external=choice.external,
            notes=list(choice.notes),
            tuned=choice.recipe.tuned,
            tuning_trials=choice.recipe.trials,
            sources=list(choice.recipe.sources),
            reference=choice.method.reference,
            outer_steps=scaled_steps(choice.outer_steps, effort),
        )
        distil = distil_key(cell)
        planned = PlannedCell(cell, digest({"distil": distil, "protocol": protocol.hash}), distil)
        if choice.refusal:
            planned.state, planned.reason = "refused", choice.refusal
        elif choice.failure:
            planned.state, planned.reason = "failed", choice.failure
        return planned

    def _full_data(self, dataset: Dataset, data_hash: str, protocol: Protocol) -> PlannedCell:
        """Plan the full-data line: students trained on all of the training split, with the first seed."""
        spec, count = dataset.spec, len(dataset.train)
        cell = Cell(
            kind="full_data",
            dataset=spec.name,
            data_hash=data_hash,
            split=self.settings.split,
            method=FULL_DATA,
            variant="",
            method_version=1,
            fields={},
            budget={"requested": "full", "pixels": count * spec.height * spec.width, "ipc": count / spec.classes},
            seed=self.settings.seeds[0],
            effort=self.settings.effort,
            protocol=protocol.as_json(),
            tuned=True,
            reference="none",
        )
        content = [SCHEMA, FULL_DATA, data_hash, cell.split, protocol.hash, cell.seed, cell.effort]
        return PlannedCell(cell, digest(content), "")

    def _code_hash(self, method_class: type[Method]) -> str:
        if method_class not in self._hashes:
            self._hashes[method_class] = code_hash(method_class)
        return self._hashes[method_class]


def distil_key(cell: Cell) -> str:
    """Return the key of a cell's distilled set: a hash of everything that can change it, and of nothing else.

    The pixel space and the class order are among the resolved fields; the data hash carries the name of the data set.
    Device, back end, versions and code are recorded, not keyed.
    """
    unkeyed = METHODS[cell.method].unkeyed if cell.method in METHODS else frozenset()
    return digest(
        {
            "schema": SCHEMA,
            "method": cell.method,
            "version": cell.method_version,
            "fields": {name: value for name, value in cell.fields.items() if name not in unkeyed},
            "data": cell.data_hash,
            "split": cell.split,
            "pixels": cell.budget["pixels"],
            "seed": cell.seed,
            "effort": cell.effort,
        }
    )


def scaled_steps(outer_steps: int, effort: float) -> int:
    """Return the outer steps at an effort, as ``Task.steps`` scales them; 0 stays 0."""
    return max(1, math.ceil(outer_steps * effort - 1e-9)) if outer_steps else 0


def build(method_class: type[Method], values: Mapping[str, Any], label: str) -> Method:
    """Build a method from checked hyper-parameters.

    Raises:
        BenchError: the class itself does not accept them.
    """
    try:
        return method_class(**values)
    except (TypeError, ValueError) as error:
        raise BenchError(f"method '{label}' does not accept these hyper-parameters: {error}") from error


def with_overrides(selection: Selection, overrides: Mapping[str, Mapping[str, Any]]) -> Selection:
    """Add the fields of ``--set`` and ``--config`` that the brackets leave open to a selection and to its name."""
    added = {key: value for key, value in overrides.get(selection.name, {}).items() if key not in selection.fields}
    if not added:
        return selection
    shown = [f"{key}={_typed(value)}" for key, value in sorted(added.items())]
    return Selection(selection.name, ",".join(filter(None, [selection.variant, *shown])), {**selection.fields, **added})


def _typed(value: Any) -> str:
    """Return a value as it is typed in brackets, where a list stands in a grid of its own."""
    if isinstance(value, str):
        return value
    text = json.dumps(value, separators=(",", ":"))
    return f"[{text}]" if isinstance(value, list) else text


def require(registry: Any, name: str) -> Any:
    """Return what is registered under ``name``.

    Raises:
        BenchError: nothing is; says why if a plugin of that name did not import.
    """
    if name in registry:
        return registry[name]
    for module, reason in UNAVAILABLE.items():
        if name == module.rpartition(".")[2] or f"(entry point {name})" in module:
            raise BenchError(f"{registry.kind} '{name}' is not available: its plugin {module} does not import ({reason})")
    raise unknown_name(registry.kind, name, list(registry))


def require_known(methods: Sequence[str]) -> None:
    """Check the names of ``--force``.

    Raises:
        BenchError: one of them is neither a method nor the full-data line.
    """
    for name in methods:
        if name != FULL_DATA:
            require(METHODS, name)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record file will hold: tuples become lists."""
    return cast(dict[str, Any], json.loads(json.dumps(dict(values))))


def _merge(planned: dict[str, PlannedCell], new: PlannedCell) -> None:
    """Add a cell, or note its name on the cell that it equals.

    Raises:
        BenchError: the two ask for different ways of computing the same cell.
    """
    if new.key not in planned:
        planned[new.key] = new
        return
    cell = planned[new.key].cell
    if differing := computed_otherwise(cell, new.cell):
        raise BenchError(
            f"'{cell.label}' and '{new.cell.label}' are one cell, as {differing} chooses how it is computed and is not part of its key; "
            "ask for one of them, or for each in a folder of its own with --out"
        )
    absorb(cell, new.cell)


def computed_otherwise(cell: Cell, other: Cell) -> str:
    """Return the names of the unkeyed fields in which two equal cells differ, or an empty string."""
    unkeyed = METHODS[cell.method].unkeyed if cell.method in METHODS else frozenset()
    return ", ".join(name for name in sorted(unkeyed) if cell.fields.get(name) != other.fields.get(name))


def absorb(cell: Cell, other: Cell) -> bool:
    """Note on ``cell`` the names of an equal one; a reference form stays one whoever else asks for it.

    Returns:
        Whether anything was new.
    """
    before = asdict(cell)
    names = {cell.variant, *cell.aliases, other.variant, *other.aliases}
    if other.kind == "reference" and cell.kind != "reference":
        cell.kind, cell.variant = "reference", other.variant
    cell.aliases = sorted(names - {cell.variant})
    return asdict(cell) != before


def _require_something(cells: list[PlannedCell]) -> None:
    """Refuse a run none of whose contestants can use any of its budgets: the input asks for nothing.

    Raises:
        BenchError: with the first refusal.
    """
    contestants = [planned for planned in cells if planned.cell.kind == "contestant"]
    if contestants and all(planned.state == "refused" for planned in contestants):
        first = contestants[0]
        raise BenchError(
            f"nothing to run: '{first.cell.label}' refuses budget {first.cell.budget['requested']} on {first.cell.dataset}: {first.reason}"
        )
