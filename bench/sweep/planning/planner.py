"""From settings to a plan: every method is asked once for each data set, budget and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from ...brackets import Request, bounded, parse_requests
from ...budget import Budget, BudgetRequest
from ...data import DataOptions, Dataset, SplitName, default_data_root
from ...errors import BenchError
from ...judge.evaluate import network_name
from ...judge.protocol import Protocol, get_protocol
from ...keys import digest, plain
from ...loading import check_test, find_dataset, load_dataset
from ...method import Method, PlanContext, Refusal, Resolution, scaled_steps
from ...prerequisite import Need
from ...prerequisite_store import PrerequisiteStore, ensure, resolve
from ...recipes import ResolvedRecipe, Rule, check_built, check_fields, check_parts, load_rules, resolve_recipe
from ...record import SCHEMA, Cell, Kind
from ...registry import METHODS, require
from ..settings import RunSettings
from .cell_keys import distil_key
from .codehash import code_hash
from .overrides import axes_of, fitting, with_overrides
from .plan import Plan, PlannedCell
from .same_cell import merge

FULL_DATA = "full-data"
_NO_FULL_DATA = "no full-data line at effort {:g}: it is trained in full or not at all; run with --effort 1 to have it"

#: A budget may be this many times the training images: beyond, forms of a slip of the finger would take for ever to plan.
_MOST_COPIES = 10


@dataclass(frozen=True)
class _Choice:
    """A method on a data set at a budget with a seed: what planning it gave.

    Attributes:
        kind: contestant or reference.
        request: what was asked for.
        recipe: hyper-parameters and where they come from.
        method: the method as it will run, or as it was when it refused or broke.
        resolution: what it decided, or ``None`` where it refused or broke.
        refusal: its sentence.
        failure: how it broke.
    """

    kind: Kind
    request: Request
    recipe: ResolvedRecipe
    method: Method
    resolution: Resolution | None = None
    refusal: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Planner:
    """Makes the plan of one run.

    Attributes:
        settings: what was asked for.
        prerequisites: what planning looks into and builds where it is missing.
        download: whether missing data sets and weights may be fetched, and the data root written; not in a dry run.
    """

    settings: RunSettings
    prerequisites: PrerequisiteStore
    download: bool = True
    _hashes: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _rules: dict[type[Method], tuple[Rule, ...]] = field(default_factory=dict)

    def plan(self) -> Plan:
        """Resolve every cell.

        Raises:
            BenchError: a name, field or budget is wrong, a data set is not there, or no cell could ever run.
        """
        protocol, contestants = self.check()
        options = DataOptions(self._root(), self._may_download(), keep=self.download)
        planned: dict[str, PlannedCell] = {}
        # All are opened before any is planned, which may build what a method has to look into.
        datasets, asked = self._open_all(options)
        for dataset in datasets.values():
            for cell in self._cells_of(dataset, contestants, protocol):
                cell.cell.unofficial = not dataset.official
                cell.cell.notes += dataset.notes
                merge(planned, cell)
        cells = list(planned.values())
        _require_something(cells)
        left_out = [] if self.settings.no_reference or self._wants_full_data() else [_NO_FULL_DATA.format(self.settings.effort)]
        return Plan(cells, datasets, protocol, replace(options, download=False), tuple(left_out), asked)

    def check(self) -> tuple[Protocol, tuple[Request, ...]]:
        """Check every name and field, before anything is read or written.

        Returns:
            The protocol and the contestants.

        Raises:
            BenchError: a name or field is wrong.
        """
        protocol = self._protocol()
        contestants = self._contestants()
        if self.settings.curve == "on" and self.settings.split == "paper":
            raise BenchError("--curve on scores sets on val, and split paper has no val images; use --split dev, or --curve auto")
        for name in self.settings.datasets:
            find_dataset(name, self._root())
        rows = len(contestants) + sum(1 for _ in self._references())
        bounded(rows * len(self.settings.datasets) * len(self.settings.budgets) * len(self.settings.seeds), "this run")
        return protocol, contestants

    def _may_download(self) -> bool:
        return self.download and not self.settings.offline

    def _root(self) -> Path:
        return Path(self.settings.data_root) if self.settings.data_root else default_data_root()

    def _open_all(self, options: DataOptions) -> tuple[dict[str, Dataset], dict[str, str]]:
        """Open all data sets, by their names, and return with them how each was asked for.

        Raises:
            BenchError: one cannot be used, or two folders would have one name.
        """
        datasets: dict[str, Dataset] = {}
        asked: dict[str, str] = {}
        for name in self.settings.datasets:
            dataset = self._open(name, options)
            if (other := asked.get(dataset.spec.name, name)) != name:
                raise BenchError(
                    f"data sets '{other}' and '{name}' would both be called '{dataset.spec.name}'; run them one after the other, "
                    "into a folder each with --out, or rename one"
                )
            datasets[dataset.spec.name], asked[dataset.spec.name] = dataset, name
        return datasets, asked

    def _open(self, name: str, options: DataOptions) -> Dataset:
        """Open a data set, and see that its test split can be used, too."""
        dataset = load_dataset(name, cast(SplitName, self.settings.split), options)
        check_test(dataset)
        return dataset

    def _protocol(self) -> Protocol:
        """Return how sets are judged: ``--network`` sets the students' network for every row of the run."""
        protocol = get_protocol(self.settings.protocol, self.settings.students)
        return replace(protocol, network=self.settings.network) if self.settings.network else protocol

    def _contestants(self) -> tuple[Request, ...]:
        """Check the names and fields of all methods, and put ``--set`` and ``--config`` into the requests.

        Brackets win over overrides of their field, and a row's name must tell what was changed, so both are shown as
        brackets.
        """
        requests = parse_requests(self.settings.methods)
        for request in requests:
            check_fields(require(METHODS, request.name), request.fields, f"method '{request.label}'")
        for name, values in self.settings.set.items():
            self._check_overrides(require(METHODS, name), values, requests)
        return tuple(with_overrides(request, self.settings.set) for request in requests)

    def _check_overrides(self, method: type[Method], values: Mapping[str, Any], requests: Sequence[Request]) -> None:
        """Check that every field of ``--set`` or ``--config`` fits some row of its method; the others go without it."""
        rows = [s.fields for s in requests if s.name == method.name]
        rows += [] if self.settings.no_reference else [dict(form) for form in method.reference_forms]
        check_parts(method, values, f"set '{method.name}'")
        for key, value in values.items():
            suited = [fields for fields in rows if key in fitting(method, fields, {key: value})]
            check_fields(method, {key: value}, f"set '{method.name}'", axes_of(method, (suited or rows or [{}])[0]))

    def _references(self) -> Iterator[Request]:
        if self.settings.no_reference:
            return
        for name in METHODS:
            for form in METHODS[name].reference_forms:
                variant = ",".join(f"{key}={value}" for key, value in form.items())
                yield with_overrides(Request(name, variant, form), self.settings.set)

    def _cells_of(self, dataset: Dataset, contestants: Sequence[Request], protocol: Protocol) -> Iterator[PlannedCell]:
        data_hash = dataset.fingerprint()
        spec, counts = dataset.spec, dataset.class_counts()
        wanted = [("contestant", s) for s in contestants] + [("reference", s) for s in self._references()]
        for budget in [granted(text, dataset) for text in self.settings.budgets]:
            for kind, request in wanted:
                for seed in self.settings.seeds:
                    looked_into: list[Need] = []
                    find = partial(self._find, dataset, data_hash, looked_into)
                    context = PlanContext(spec, budget, seed, find, class_counts=counts, download=self._may_download())
                    choice = self._choose(cast(Kind, kind), request, context)
                    yield self._planned(choice, context, data_hash, protocol, looked_into)
        if self._wants_full_data():
            yield self._full_data(dataset, data_hash, protocol)

    def _wants_full_data(self) -> bool:
        """Tell whether the full-data line is run: a shortened one would be no ceiling, and a full one no quick look."""
        return self.settings.effort >= 1 and not self.settings.no_reference

    def _find(self, dataset: Dataset, data_hash: str, looked_into: list[Need], need: Need) -> Path:
        """Return the folder of a prerequisite that planning looks into; it is built now if it is not there."""
        if need not in looked_into:
            looked_into.append(need)
        return ensure(need, dataset, self.prerequisites, data_hash=data_hash).path

    def _choose(self, kind: Kind, request: Request, context: PlanContext) -> _Choice:
        """Plan a method with each of its candidate parts in turn, until one is not refused."""
        method_class, tried = METHODS[request.name], None
        explicit = check_fields(method_class, request.fields, f"method '{request.label}'")
        for parts in method_class.candidates(explicit):
            tried = self._try(kind, request, method_class, parts, explicit, context)
            if tried.resolution is None and not tried.failure:
                continue
            settled = {axis: tried.method.values()[axis] for axis in parts}
            if settled != parts and not tried.failure:
                # It came to other parts (smaller images that are full ones), whose recipe rules are to hold.
                again = self._try(kind, request, method_class, settled, explicit, context)
                return again if again.resolution else tried
            return tried
        assert tried is not None  # there is always a candidate
        return tried

    def _try(
        self,
        kind: Kind,
        request: Request,
        method_class: type[Method],
        parts: Mapping[str, Any],
        explicit: Mapping[str, Any],
        context: PlanContext,
    ) -> _Choice:
        """Plan a method that is made of some parts."""
        legal = method_class.legal(parts)
        layers = self._network(method_class, parts), {key: v for key, v in explicit.items() if key not in parts and key in legal}
        if method_class not in self._rules:  # a file is read once, not for every budget and seed
            self._rules[method_class] = load_rules(method_class)
        rules = self._rules[method_class]
        recipe = resolve_recipe(method_class, context.spec.name, context.budget.asked_ipc, *layers, chosen=parts, rules=rules)
        tried = _Choice(kind, request, recipe, build(method_class, recipe.values, request.label))
        check_built(tried.method, f"method '{request.label}'")
        try:
            planned = checked_answer(tried.method, context)
        except BenchError:
            raise  # the input is wrong, and no other part would make it right
        except (Exception, SystemExit) as error:
            # A plugin that breaks while it is planned fails its own cells only.
            return replace(tried, failure=f"planning failed: {type(error).__name__}: {error}")
        if isinstance(planned, Resolution):
            return replace(tried, method=planned.method, resolution=planned)
        return replace(tried, refusal=planned.reason)

    def _network(self, method_class: type[Method], parts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the field by which a method learns of ``--network``, if it has one."""
        asked = self.settings.network
        return {"network": asked} if asked and "network" in method_class.legal(parts) else {}

    def _planned(
        self, choice: _Choice, context: PlanContext, data_hash: str, protocol: Protocol, looked_into: Sequence[Need]
    ) -> PlannedCell:
        method, resolution = choice.method, choice.resolution or Resolution(choice.method)
        # Effort changes nothing where there are no outer steps, so such cells are the same at every effort.
        effort = self.settings.effort if resolution.outer_steps else 1.0
        budget = context.budget
        cell = Cell(
            kind=choice.kind,
            dataset=context.spec.name,
            data_hash=data_hash,
            split=self.settings.split,
            method=choice.request.name,
            variant=choice.request.variant,
            method_version=method.version,
            identity=method.identity(),
            parts=method.parts(),
            fields=plain(method.values()),
            unkeyed=sorted(method.unkeyed_fields()),
            plan=plain(dict(resolution.plan)),
            budget={"requested": budget.requested, "pixels": budget.pixels, "ipc": budget.ipc},
            seed=context.seed,
            effort=effort,
            protocol=protocol.as_json(),
            network=network_name(protocol, context.spec, resolution.network),
            code_hash=self._code_hash(method, resolution),
            adapted=resolution.adapted,
            external=resolution.external,
            notes=list(resolution.notes),
            origin=resolution.origin,
            tuned=choice.recipe.tuned,
            tuning_trials=choice.recipe.trials,
            sources=list(choice.recipe.sources),
            published=list(choice.recipe.published),
            reference=method.reference,
            outer_steps=scaled_steps(resolution.outer_steps, effort),
            prerequisites=[
                *(self._listed(need, data_hash, "distilling") for need in resolution.needs),
                *(self._listed(need, data_hash, "planning") for need in looked_into if need not in resolution.needs),
            ],
        )
        distil = distil_key(cell)
        planned = PlannedCell(cell, digest({"distil": distil, "protocol": protocol.hash}), distil, resolution=choice.resolution)
        if choice.refusal:
            planned.state, planned.reason = "refused", choice.refusal
        elif choice.failure:
            planned.state, planned.reason = "failed", choice.failure
        return planned

    def _listed(self, need: Need, data_hash: str, used: str) -> dict[str, Any]:
        """Return a prerequisite as the record lists it; its cost is known once it is built."""
        key = resolve(need).key(need.seed, data_hash)
        return {"name": need.name, "config": dict(need.config), "seed": need.seed, "key": key, "used": used}

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
            effort=1.0,
            protocol=protocol.as_json(),
            network=network_name(protocol, spec),
            tuned=True,
            reference="none",
        )
        content = [SCHEMA, FULL_DATA, data_hash, cell.split, protocol.hash, cell.seed, cell.effort]
        return PlannedCell(cell, digest(content), "")

    def _code_hash(self, method: Method, resolution: Resolution) -> str:
        """Hash the program text of the method, of its chosen parts, and of the prerequisites it needs."""
        parts = (*method.code(), *(type(resolve(need)) for need in resolution.needs))
        if parts not in self._hashes:
            self._hashes[parts] = code_hash(*parts)
        return self._hashes[parts]


def granted(text: str, dataset: Dataset) -> Budget:
    """Turn a budget into whole pixels of a data set.

    Raises:
        BenchError: it gives no pixel, or far more than the data set has.
    """
    spec = dataset.spec
    budget = BudgetRequest.parse(text).resolve(spec.classes, spec.height, spec.width)
    if budget.images > _MOST_COPIES * len(dataset.train):
        raise BenchError(
            f"budget '{text}' on {spec.name} is {budget.images:,} images, more than {_MOST_COPIES} times "
            f"its {len(dataset.train):,} training images; ask for less"
        )
    return budget


def build(method_class: type[Method], values: Mapping[str, Any], label: str) -> Method:
    """Build a method from checked hyper-parameters.

    Raises:
        BenchError: the class itself does not accept them.
    """
    try:
        return method_class.build(values)
    except (TypeError, ValueError) as error:
        raise BenchError(f"method '{label}' does not accept these hyper-parameters: {error}") from error


def checked_answer(method: Method, context: PlanContext) -> Resolution | Refusal:
    """Ask a method once, and take nothing from it that a record could not hold.

    Raises:
        TypeError: the answer is of another kind, or holds what is not plain JSON.
        ValueError: a number in it is not finite.
    """
    answer = method.plan(context)
    if isinstance(answer, Refusal):
        return Refusal(str(answer.reason))
    if not isinstance(answer, Resolution):
        raise TypeError(f"plan() returned {type(answer).__name__}; it must return a Resolution or a Refusal")
    if type(answer.outer_steps) is not int or answer.outer_steps < 0:
        raise TypeError(f"outer_steps is {answer.outer_steps!r}; it must be a whole number of at least 0")
    plain({"plan": dict(answer.plan), "fields": answer.method.values(), "identity": answer.method.identity()})
    return answer


def require_known(methods: Sequence[str]) -> None:
    """Check the names of ``--force``.

    Raises:
        BenchError: one of them is neither a method nor the full-data line.
    """
    for name in methods:
        if name != FULL_DATA:
            require(METHODS, name)


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
