"""A method at one budget, planned as a sweep plans it, and the runs that its checks share."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ..brackets import Request
from ..budget import Budget, BudgetRequest
from ..data import Dataset, Spec
from ..distilled import MANIFEST, TENSORS, DistilledSet
from ..guard import guarded
from ..keys import canonical_json
from ..method import Method, PlanContext, Refusal, Resolution, Task
from ..nn.spaces import fit_space
from ..prerequisite import Need
from ..prerequisite_store import PrerequisiteStore, ensure, opener
from ..recipes import check_fields, resolve_recipe
from ..registry import METHODS
from ..sweep.planning.planner import checked_answer
from .checks import BrokenContract, global_generators, other_global_generators, require

#: Where every plugin is tried, in images per class.
BUDGETS = ("0.3", "0.5", "1")
#: Where a method is tried that takes none of them.
LARGE_BUDGETS = ("10", "50")
_OUTER_STEPS = 2


def request_for(name: str, fields: Mapping[str, Any]) -> Request:
    """Return a method with some fields set, as it would be typed."""
    return Request(name, ",".join(f"{key}={value}" for key, value in fields.items()), dict(fields))


def plan_request(request: Request, context: PlanContext, recipes: bool = True) -> Resolution | Refusal:
    """Plan a method with each of its candidate parts in turn, until one is not refused.

    Args:
        request: the method and what is set.
        context: what planning may look at.
        recipes: whether the rules of its recipe file hold.

    Raises:
        BenchError: a field is wrong.
        TypeError, ValueError: the answer of the method is no answer.
    """
    kind, answer = METHODS[request.name], None
    explicit = check_fields(kind, request.fields, f"method '{request.label}'")
    for parts in kind.candidates(explicit):
        layer = {key: value for key, value in explicit.items() if key not in parts}
        rules = None if recipes else ()
        values = resolve_recipe(kind, context.spec.name, context.budget.ipc, layer, chosen=parts, rules=rules).values
        answer = checked_answer(kind.build(values), context)
        if isinstance(answer, Resolution):
            return answer
    assert answer is not None  # there is always a candidate
    return answer


@dataclass(frozen=True)
class FirstRun:
    """An ordinary run.

    Attributes:
        folder: where the set was saved.
        distilled: the set as it was read back from there.
        states: what it offered to resume from.
    """

    folder: Path
    distilled: DistilledSet
    states: tuple[dict[str, Tensor], ...]


@dataclass(frozen=True)
class WatchedRun:
    """The same run again under a guard, from another state of the global generators.

    Attributes:
        folder: where the set was saved.
        made: the set that was saved.
        violations: attempts to open files of the data set.
        touched_generators: global generators that were drawn from.
        touched_data: whether the training data changed.
    """

    folder: Path
    made: DistilledSet
    violations: tuple[str, ...]
    touched_generators: tuple[str, ...]
    touched_data: bool


@dataclass(frozen=True)
class Trial:
    """One method at one budget, ready to distil any number of times with a few outer steps.

    Attributes:
        request: the method as it is typed.
        budget: as it is typed.
        method: it, with everything resolved.
        task: what it is given.
        dataset: what the task is made of.
        data_hash: fingerprint of the data set before anything ran.
        scratch: folder for the sets.
    """

    request: Request
    budget: str
    method: Method
    task: Task
    dataset: Dataset
    data_hash: str
    scratch: Path

    @property
    def label(self) -> str:
        """The method as it is typed, and the budget."""
        return f"{self.request.label} at {self.budget}"

    def of_another_seed(self) -> Trial | Refusal:
        """Return the same with another distillation seed, planned anew: a seed may have prerequisites of its own."""
        return trial_of(self.request, self.budget, self.dataset, self.scratch, seed=self.task.seed + 1)

    def distill(self, name: str, **changes: Any) -> tuple[Path, DistilledSet]:
        """Distil with changes to the task, save the set and return its folder and what was saved."""
        made = self.method.distill(dataclasses.replace(self.task, **changes))
        require(isinstance(made, DistilledSet), f"distill() returned {type(made).__name__}; return a DistilledSet")
        made.save(self.scratch / name)
        return self.scratch / name, made

    @cached_property
    def first(self) -> FirstRun:
        """The ordinary run."""
        states: list[dict[str, Tensor]] = []

        def keep(state: Callable[[], Mapping[str, Tensor]]) -> None:
            states.append({key: value.clone() for key, value in state().items()})

        folder, _ = self.distill("first", on_checkpoint=keep)
        return FirstRun(folder, DistilledSet.load(folder, self.dataset.spec), tuple(states))

    @cached_property
    def watched(self) -> WatchedRun:
        """The run that is watched."""
        with other_global_generators():
            before = global_generators()
            with guarded(self.dataset.files) as violations:
                folder, made = self.distill("watched")
            after = global_generators()
        touched = tuple(name for name in before if before[name] != after[name])
        return WatchedRun(folder, made, tuple(violations), touched, self.data_hash != self.dataset.hash_content())


def answer_of(
    request: Request, budget: str, dataset: Dataset, scratch: Path, seed: int = 0, looked_into: list[Need] | None = None
) -> Resolution | Refusal:
    """Plan a method as a sweep does; to refuse is within the contract, if the table can show why.

    Args:
        request: the method.
        budget: as it is typed.
        dataset: what is distilled.
        scratch: folder for prerequisites that planning asks for.
        seed: distillation seed.
        looked_into: gets these prerequisites.

    Raises:
        BrokenContract: the refusal is no sentence.
    """
    store, data_hash = PrerequisiteStore(scratch / "prerequisites"), dataset.hash_content()

    def find(need: Need) -> Path:
        if looked_into is not None:
            looked_into.append(need)
        return ensure(need, dataset, store, data_hash=data_hash).path

    answer = plan_request(request, PlanContext(dataset.spec, _granted(budget, dataset.spec), seed, find=find))
    if isinstance(answer, Refusal):
        check_is_a_sentence(answer.reason)
    return answer


def trial_of(request: Request, budget: str, dataset: Dataset, scratch: Path, seed: int = 0) -> Trial | Refusal:
    """Do what a sweep does before it distils: plan, and build what the plan announces.

    Args:
        request: the method.
        budget: as it is typed.
        dataset: what is distilled.
        scratch: folder for sets and prerequisites.
        seed: distillation seed.

    Raises:
        BrokenContract: the method refuses, and not by a sentence.
    """
    spec, store, looked_into = dataset.spec, PrerequisiteStore(scratch / "prerequisites"), list[Need]()
    answer, data_hash = answer_of(request, budget, dataset, scratch, seed, looked_into), dataset.hash_content()
    if isinstance(answer, Refusal):
        return answer
    for need in answer.needs:
        ensure(need, dataset, store, data_hash=data_hash)
    task = Task(
        spec=spec,
        train=dataset.train,
        budget=_granted(budget, spec),
        seed=seed,
        key=f"contract {request.label} {budget} seed {seed}",
        open_space=lambda which: fit_space(which, dataset.train),
        plan=json.loads(canonical_json(dict(answer.plan))),  # as it comes back from a record
        effort=_OUTER_STEPS / max(_OUTER_STEPS, answer.outer_steps),
        find=opener((*answer.needs, *looked_into), store, data_hash),
    )
    return Trial(request, budget, answer.method, task, dataset, data_hash, scratch)


def _granted(budget: str, spec: Spec) -> Budget:
    return BudgetRequest.parse(budget).resolve(spec.classes, spec.height, spec.width)


def check_is_a_sentence(reason: str) -> None:
    """Check what a table shows of a refusal.

    Raises:
        BrokenContract: it is no sentence of one line.
    """
    if len(reason.split()) < 4 or "\n" in reason:
        raise BrokenContract(f"the refusal {reason!r} is no sentence of one line; say why it cannot be done")


def same_bytes(one: Path, other: Path) -> bool:
    """Tell whether two saved sets have the same bytes."""
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in (TENSORS, MANIFEST))
