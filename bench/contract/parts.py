"""What parts keep by themselves; what they keep as parts of a method shows when one is made of them."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ..data import Dataset
from ..errors import BenchError, RejectedSet
from ..form import Form
from ..judge.hiding import check_program
from ..objective import Objective
from ..parameterization import LabelKind, Parameterization, Role
from ..prerequisite import Need
from ..prerequisite_store import PrerequisiteStore, ensure
from ..registry import FORMS, OBJECTIVES, PARAMETERIZATIONS, Registry
from ..seeding import stream
from ..selection import checked, is_deterministic, uses_features
from .checks import (
    BrokenContract,
    Check,
    Inapplicable,
    check_fields_are_frozen_and_described,
    check_pickles,
    generators_left_alone,
    kept,
    require,
)


@dataclass(frozen=True)
class PartTrial:
    """A selection or a prerequisite, and a data set to try it on.

    Attributes:
        name: registered name.
        part: what is registered.
        dataset: its training split is what the part sees.
        scratch: folder for what is built.
    """

    name: str
    part: Any
    dataset: Dataset
    scratch: Path


FORM_CHECKS: list[Check[type[Form]]] = []
OBJECTIVE_CHECKS: list[Check[type[Objective]]] = []
SELECTION_CHECKS: list[Check[PartTrial]] = []
PREREQUISITE_CHECKS: list[Check[PartTrial]] = []
PARAMETERIZATION_CHECKS: list[Check[type[Parameterization]]] = []


def _check_says_what_it_is(kind: Any) -> None:
    """Check what registering does not: a wrong name is refused there."""
    require(type(kind.version) is int, f"the version of {kind.__name__} is {kind.version!r}; use a whole number")


@kept(FORM_CHECKS, "it says what it is")
def _form_says_what_it_is(kind: type[Form]) -> None:
    _check_says_what_it_is(kind)


@kept(FORM_CHECKS, "its fields are frozen and described")
def _form_fields(kind: type[Form]) -> None:
    check_fields_are_frozen_and_described(kind)
    check_pickles(kind())


@kept(OBJECTIVE_CHECKS, "it says what it is")
def _objective_says_what_it_is(kind: type[Objective]) -> None:
    _check_says_what_it_is(kind)
    reference = getattr(kind, "reference", None)
    require(isinstance(reference, str) and bool(reference.strip()), f"{kind.__name__} has no reference; name the paper, or say 'none'")


@kept(OBJECTIVE_CHECKS, "its fields are frozen and described")
def _objective_fields(kind: type[Objective]) -> None:
    check_fields_are_frozen_and_described(kind)
    check_pickles(kind())


def _select(trial: PartTrial, slots: Tensor, seed: int = 0) -> Tensor:
    train = trial.dataset.train
    features = train.unit_images().flatten(1) if uses_features(trial.part) else None
    chosen: Tensor = trial.part(features, train.labels, slots, stream("contract", "selection", seed))
    return chosen


def _slots(trial: PartTrial) -> dict[str, Tensor]:
    """Return what a form may ask for: one image of every class, several, or one of some classes."""
    classes = torch.arange(trial.dataset.spec.classes)
    return {"one of every class": classes, "three of every class": classes.repeat_interleave(3), "one of half the classes": classes[::2]}


@kept(SELECTION_CHECKS, "it picks a training image of the wanted class for every slot")
def _selection_fits(trial: PartTrial) -> None:
    for asked, slots in _slots(trial).items():
        try:
            checked(_select(trial, slots), trial.dataset.train.labels, slots)
        except ValueError as error:
            raise BrokenContract(f"asked for {asked}: {error}") from error


@kept(SELECTION_CHECKS, "it changes nothing that it is given")
def _selection_leaves_all_alone(trial: PartTrial) -> None:
    data = trial.dataset.hash_content()
    for slots in _slots(trial).values():
        given = slots.clone()
        with generators_left_alone("it"):
            _select(trial, given)
        require(torch.equal(given, slots) and trial.dataset.hash_content() == data, "it changed labels or slots in place; work on copies")


@kept(SELECTION_CHECKS, "its generator, and no other, decides")
def _selection_follows_its_generator(trial: PartTrial) -> None:
    slots = _slots(trial)["three of every class"]
    same = torch.equal(_select(trial, slots), _select(trial, slots))
    require(same, "two calls with equal generators pick other images; draw from the generator it is given")
    drawn = not torch.equal(_select(trial, slots), _select(trial, slots, seed=1))
    if is_deterministic(trial.part):
        require(not drawn, "it is declared deterministic, and another generator gives other images; drop @deterministic")
    else:
        require(drawn, "another generator gives the same images; put @deterministic on it, or draw from the generator")


@kept(PREREQUISITE_CHECKS, "it says what it is")
def _prerequisite_says_what_it_is(trial: PartTrial) -> None:
    _check_says_what_it_is(trial.part)


@kept(PREREQUISITE_CHECKS, "its fields are frozen and described")
def _prerequisite_fields(trial: PartTrial) -> None:
    check_fields_are_frozen_and_described(trial.part)


@kept(PREREQUISITE_CHECKS, "it builds the same files twice")
def _prerequisite_builds(trial: PartTrial) -> None:
    """Also: it reaches for no file of the data set, changes no training data and draws from no global generator."""
    data, need, built = trial.dataset.hash_content(), Need(trial.name), []
    if required := [each.name for each in fields(trial.part) if each.default is MISSING and each.default_factory is MISSING]:
        raise Inapplicable(f"it has no default for {', '.join(required)}, so it is built only where a method asks for it")
    for attempt in ("one", "two"):
        try:
            with generators_left_alone("its builder"):
                built.append(ensure(need, trial.dataset, PrerequisiteStore(trial.scratch / f"{trial.name} {attempt}")).path)
        except (RejectedSet, BenchError) as error:
            raise BrokenContract(str(error)) from error
    require(trial.dataset.hash_content() == data, "it changed the training data in place; work on copies")
    one, other = ({file.relative_to(folder): file.read_bytes() for file in _files(folder)} for folder in built)
    require(one == other, "two builds give different files; draw from workshop.generator(...), and write neither times nor paths")


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "manifest.json"]


@kept(PARAMETERIZATION_CHECKS, "it says what it is")
def _parameterization_says_what_it_is(kind: type[Parameterization]) -> None:
    _check_says_what_it_is(kind)
    roles = getattr(kind, "roles", {})
    wrong = [name for name, role in roles.items() if role not in get_args(Role)]
    require(bool(roles), f"{kind.__name__} declares no roles; name every stored tensor: roles = {{'images': 'image'}}")
    require(not wrong, f"tensor '{next(iter(wrong), '')}' has an unknown role; it is one of {', '.join(get_args(Role))}")
    kinds = get_args(LabelKind)
    require(kind.label_kind in kinds, f"labels of kind {kind.label_kind!r} do not exist; they are {', '.join(kinds)}")


@kept(PARAMETERIZATION_CHECKS, "its program text holds no content")
def _parameterization_hides_nothing(kind: type[Parameterization]) -> None:
    try:
        check_program(kind)
    except RejectedSet as error:
        raise BrokenContract(f"the audit rejects the decoder: {error}") from error


#: Where the two kinds of parts that are plain classes are registered, and how they are checked.
CLASS_CHECKS: tuple[tuple[Registry[Any], list[Check[Any]]], ...] = (
    (FORMS, FORM_CHECKS),  # type: ignore[list-item]
    (OBJECTIVES, OBJECTIVE_CHECKS),  # type: ignore[list-item]
    (PARAMETERIZATIONS, PARAMETERIZATION_CHECKS),  # type: ignore[list-item]
)
