"""What every method keeps: as a class, and at every budget that it takes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..brackets import Request
from ..budget import BudgetRequest
from ..data import Batch, Spec
from ..errors import BenchError, RejectedSet
from ..judge.audit import audit
from ..keys import canonical_json, plain
from ..method import Method, PlanContext, Refusal
from ..prerequisite import Need
from ..recipes import check_fields
from ..registry import METHODS
from ..seeding import stream
from .checks import BrokenContract, Check, check_fields_are_frozen_and_described, check_pickles, kept, require
from .trials import Trial, check_is_a_sentence, plan_request, same_bytes

#: Checks of a method's class.
METHOD_CHECKS: list[Check[type[Method]]] = []
#: Checks of a method at one budget.
TRIAL_CHECKS: list[Check[Trial]] = []

_SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))
_TOLERANCE = 1e-3


@kept(METHOD_CHECKS, "it says what it is")
def _says_what_it_is(kind: type[Method]) -> None:
    require(METHODS[kind.name] is kind, f"{kind.__name__} is registered under another name than its own, '{kind.name}'; use one name")
    reference = getattr(kind, "reference", None)
    require(isinstance(reference, str) and bool(reference.strip()), f"{kind.__name__} has no reference; name the paper, or say 'none'")
    require(type(kind.version) is int, f"the version of {kind.__name__} is {kind.version!r}; use a whole number")
    module = inspect.getmodule(kind)
    documented = module is not None and "Stored" in (module.__doc__ or "")
    require(documented, f"the module of {kind.__name__} does not say what is stored; write 'Stored: ...' into its docstring")


@kept(METHOD_CHECKS, "its fields are frozen, plain and described")
def _fields_are_frozen_plain_and_described(kind: type[Method]) -> None:
    for parts in kind.candidates({}):
        method = kind.build(parts)
        canonical_json(plain(method.values()))  # raises on what cannot be part of a key
        surplus = sorted(set(method.values()) - set(kind.legal(parts)))
        require(not surplus, f"{kind.__name__} has values that nobody may set: {', '.join(surplus)}; return them from legal() as well")
        check_pickles(method)
        for owner in owners(method):
            check_fields_are_frozen_and_described(type(owner))


@kept(METHOD_CHECKS, "unknown settings are refused by name")
def _unknown_settings_are_refused(kind: type[Method]) -> None:
    try:
        check_fields(kind, {"no_such_field": 1}, "check")
    except BenchError as error:
        named = "has no field 'no_such_field'" in str(error)
        require(named, f"an unknown field is refused by '{error}', which does not name it; return the fields from legal()")
    else:
        raise BrokenContract(f"{kind.__name__} takes a field that it does not have; return from legal() what may be set and nothing else")


def owners(method: Any) -> list[Any]:
    """Return the dataclasses whose fields are hyper-parameters: the parts of a product, or the method itself."""
    parts = [getattr(method, each.name) for each in dataclasses.fields(method)]
    made_of = [part for part in parts if dataclasses.is_dataclass(part)]
    return [method, *made_of] if made_of else [method]


class _Unplannable(Exception):
    """Planning looks into a prerequisite of a data set that is not there."""


def _nothing_to_look_into(need: Need) -> Any:
    raise _Unplannable(need.name)


def check_takes_or_refuses(request: Request, spec: Spec, pixels: int, find: Callable[[Need], Any] = _nothing_to_look_into) -> None:
    """Plan a method without its recipes at any budget on any data set.

    Args:
        request: the method.
        spec: of a data set that need not exist.
        pixels: the budget.
        find: opens prerequisites while it is planned.

    Raises:
        BrokenContract: the method refuses, and not with a sentence.
    """
    budget = BudgetRequest.parse(f"{pixels}px").resolve(spec.classes, spec.height, spec.width)
    try:
        answer = plan_request(request, PlanContext(spec, budget, find=find), recipes=False)
    except _Unplannable:
        return
    if isinstance(answer, Refusal):
        check_is_a_sentence(answer.reason)


def check_takes_or_refuses_some(request: Request, count: int = 60) -> None:
    """Try sizes of images, numbers of classes and budgets that are drawn once and for all.

    Raises:
        BrokenContract: planning one of them breaks.
    """
    draws = stream("contract", "budgets")
    for _ in range(count):
        shape = _SHAPES[int(torch.randint(len(_SHAPES), (), generator=draws))]
        classes = int(torch.randint(2, 201, (), generator=draws))
        pixels = int(torch.exp(torch.rand((), generator=draws) * 9.9))  # small ones are as frequent as large ones: 1 to 20,000
        spec = Spec("any", classes, shape, tuple(map(str, range(classes))))
        try:
            check_takes_or_refuses(request, spec, pixels)
        except BrokenContract:
            raise
        except Exception as error:
            where = f"{pixels} pixels for {classes} classes of {'x'.join(map(str, shape))}"
            raise BrokenContract(f"planning breaks at {where} ({type(error).__name__}: {error}); return a Refusal instead") from error


@kept(TRIAL_CHECKS, "its set is saved and read back")
def _makes_a_set(trial: Trial) -> None:
    require(len(trial.first.distilled.parameterization) > 0, "the set decodes to no image; store at least one")


@kept(TRIAL_CHECKS, "it passes the audit within its budget")
def _passes_the_audit(trial: Trial) -> None:
    try:
        counted = audit(trial.first.distilled, trial.task.budget)
    except RejectedSet as error:
        raise BrokenContract(f"the audit rejects the set: {error}") from error
    allowed = trial.task.budget.pixels
    require(0 < counted["pixels"] <= allowed, f"the set stores {counted['pixels']} pixels; store from 1 to the {allowed} that were granted")


@kept(TRIAL_CHECKS, "the same seed gives the same bytes")
def _same_seed_same_bytes(trial: Trial) -> None:
    same = same_bytes(trial.first.folder, trial.watched.folder)
    require(same, "two runs with one seed give different sets; draw every random number from task.generator(...)")


@kept(TRIAL_CHECKS, "another seed gives other images, or the same where it is deterministic")
def _another_seed(trial: Trial) -> None:
    another = trial.of_another_seed()
    if isinstance(another, Refusal):
        raise BrokenContract(f"seed 0 is taken and seed 1 is refused ({another.reason}); let the budget and the data set alone decide")
    _, other = another.distill("other seed")
    same = torch.equal(trial.first.distilled.parameterization.decode().images, other.parameterization.decode().images)
    if trial.method.same_for_every_seed():
        require(same, "it is declared deterministic, and another seed gives other images; drop the declaration or the random numbers")
    else:
        require(not same, "another seed gives the same images; draw from task.generator(...), or declare it deterministic")


@kept(TRIAL_CHECKS, "the global generators are left alone")
def _generators_are_left_alone(trial: Trial) -> None:
    touched = trial.watched.touched_generators
    require(not touched, f"it drew from the global generator of {', '.join(touched)}; draw from task.generator(...) instead")


@kept(TRIAL_CHECKS, "it reaches for no file of its data set")
def _reaches_for_no_file(trial: Trial) -> None:
    found = trial.watched.violations
    require(not found, f"while it distilled, it {next(iter(found), '')}; use task.train and no file of the data set")


@kept(TRIAL_CHECKS, "training data stay as they are")
def _training_data_stay(trial: Trial) -> None:
    require(not trial.watched.touched_data, "it changed the training data in place; work on a copy of task.train")


@kept(TRIAL_CHECKS, "what is loaded is what was made")
def _loaded_is_made(trial: Trial) -> None:
    first, watched = trial.first, trial.watched
    require(
        first.distilled.manifest() == watched.made.manifest(), "the manifest comes back from disk as another; keep plain JSON in config()"
    )
    made, loaded = watched.made.parameterization.decode(), first.distilled.parameterization.decode()
    same = torch.equal(made.images, loaded.images) and torch.equal(made.labels, loaded.labels)
    require(same, "the set decodes differently after it is read back; keep all that decoding needs in the tensors and in config()")


@kept(TRIAL_CHECKS, "labels are what they are declared to be")
def _labels_are_as_declared(trial: Trial) -> None:
    parameterization, spec = trial.first.distilled.parameterization, trial.dataset.spec
    decoded, count = parameterization.decode(), len(parameterization)
    batch = Batch(decoded.images.detach(), decoded.labels.detach())
    _check_shapes(batch, count, spec)
    require(bool(torch.isfinite(batch.images).all()), "the decoded images are not finite; keep the stored numbers finite")
    require(bool(torch.isfinite(batch.labels).all()), "the decoded labels are not finite; keep the stored numbers finite")
    kind, sums = parameterization.label_kind, batch.labels.sum(1)
    wanted = {"centred": 0.0, "probabilities": 1.0}.get(kind)
    if kind != "centred":
        require(float(batch.labels.min()) >= 0, f"labels declared as {kind} are negative; declare them as centred, or clamp them")
    if wanted is not None:
        off = float((sums - wanted).abs().max())
        require(off <= _TOLERANCE, f"labels declared as {kind} sum to {wanted:g} but for {off:.3g}; normalise them, or declare weights")


def _check_shapes(batch: Batch, count: int, spec: Spec) -> None:
    images, labels = tuple(batch.images.shape), tuple(batch.labels.shape)
    wanted = (count, *spec.shape), (count, spec.classes)
    require((images, labels) == wanted, f"the set decodes to images {images} and labels {labels}; decode to {wanted[0]} and {wanted[1]}")


@kept(TRIAL_CHECKS, "decoding by index is decoding all and picking")
def _decodes_by_index(trial: Trial) -> None:
    parameterization = trial.first.distilled.parameterization
    everything = parameterization.decode()
    index = torch.arange(len(parameterization)).flip(0)[: max(1, len(parameterization) // 2)]
    some = parameterization.decode(index)
    same = _close(some.images, everything.images[index]) and _close(some.labels, everything.labels[index])
    require(same, "decode(index) gives other images than decode() at index; pick the same ones in the order of the index")


def _close(one: Tensor, other: Tensor) -> bool:
    try:
        torch.testing.assert_close(one, other)
    except AssertionError:
        return False
    return True


@kept(TRIAL_CHECKS, "a resumed run gives the same bytes")
def _resumes(trial: Trial) -> None:
    """The first state that the method offers along the way must lead to the set of the run that was not interrupted."""
    states = trial.first.states
    folder, _ = trial.distill("resumed", resume_from=states[0] if states else None)
    same = same_bytes(trial.first.folder, folder)
    require(same, "a run that goes on from its checkpoint gives another set; put everything that changes from step to step into the state")
