"""What every registered method keeps, at 0.3, 0.5 and 1 image per class of digits, each with a few outer steps.

A new method is picked up by itself. Its forms that serve as references (``reference_forms``) are held to the same. The
checks themselves are in ``bench.contract``, where ``check FILE`` runs them over a plugin that lies elsewhere.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import FORMS as STORED_FORMS
from bench import (
    METHODS,
    OBJECTIVES,
    PARAMETERIZATIONS,
    PREREQUISITES,
    SELECTIONS,
    Dataset,
    DistilledSet,
    Images,
    Method,
    Refusal,
    Spec,
    TrainRecipe,
    registry,
)
from bench.brackets import Request
from bench.contract.checks import Check, Inapplicable
from bench.contract.methods import METHOD_CHECKS, TRIAL_CHECKS, check_takes_or_refuses, check_takes_or_refuses_some
from bench.contract.parts import CLASS_CHECKS, PREREQUISITE_CHECKS, SELECTION_CHECKS, PartTrial
from bench.contract.trials import BUDGETS, Trial, request_for, trial_of
from bench.foreign.keeping import keep_set
from bench.prerequisite import Need
from bench.prerequisite_store import PrerequisiteStore

registry.discover()

#: Every method as it stands, its reference forms, every stored form with every objective, and choices that store or decode otherwise.
REQUESTS = [request_for(name, form) for name in METHODS for form in ({}, *METHODS[name].reference_forms)]
REQUESTS += [request_for("mtt", {"labels": "teacher", "experts": 2})]
REQUESTS += [
    request_for("rat_bptt", {"form": form, "objective": objective, **({"experts": 2} if objective == "mtt" else {})})
    for form in STORED_FORMS
    for objective in OBJECTIVES
]
REQUESTS += [request_for("random", {"form": form, "labels": "teacher"}) for form in ("full", "lowres", "tiles", "mosaic", "bases", "dct")]
REQUESTS += [request_for("rat_bptt", {"labels": "teacher", "init": "real"}), request_for("podd", {"crops": "toroidal"})]
REQUESTS += [request_for("rat_bptt", {"form": form, "init": "real", "labels": "learned"}) for form in ("bases", "dct")]
REQUESTS += [request_for("herding", {"form": "mosaic", "labels": "teacher", "crops": "toroidal"})]
#: The same where something has to be given to a method before it can do anything: a set that was imported.
TRIED = [request_for(asked.name, {"set": "given"}) if asked.name == "imported" else asked for asked in REQUESTS]


def give(digits: Dataset, scratch: Path) -> None:
    """Put a set of one image per class where a trial looks for imported ones."""
    stored = Images(digits.spec, count=digits.spec.classes)
    stored.write(digits.train.unit_images(stored.slots()), stored.slots())
    given = DistilledSet(digits.spec, stored, TrainRecipe(), coordinates="rgb")
    keep_set(given, "given", PrerequisiteStore(scratch / "prerequisites"))


def named(check: Any) -> str:
    return str(check.name)


@pytest.fixture(
    scope="module",
    params=[(request, budget) for request in TRIED for budget in BUDGETS],
    ids=lambda p: f"{p[0].label} at {p[1]}",
)
def trial(request: pytest.FixtureRequest, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    asked, budget = request.param
    folder = tmp_path_factory.mktemp("trial")
    give(digits, folder)
    found = trial_of(asked, budget, digits, folder)
    if isinstance(found, Refusal):
        # To refuse is within the contract, provided the table can show why; nothing else is left to check.
        pytest.skip(f"refused: {found.reason}")
    return found


@pytest.mark.parametrize("check", TRIAL_CHECKS, ids=named)
def test_at_its_budget(trial: Trial, check: Check[Trial]) -> None:
    check.run(trial)


def test_the_task_holds_nothing_but_training_images(trial: Trial) -> None:
    held = {each.name: getattr(trial.task, each.name) for each in dataclasses.fields(trial.task)}
    assert not [name for name, value in held.items() if isinstance(value, Dataset)]
    assert held["train"] is trial.dataset.train
    assert held["score"] is None


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=named)
@pytest.mark.parametrize("name", list(METHODS))
def test_as_a_class(name: str, check: Check[type[Method]]) -> None:
    check.run(METHODS[name])


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_takes_some_budget(name: str, digits: Dataset, tmp_path: Path) -> None:
    """One that refuses everything would skip its whole contract."""
    give(digits, tmp_path)
    asked = next(request for request in TRIED if request.name == name)
    answers = [trial_of(asked, budget, digits, tmp_path) for budget in BUDGETS]
    assert any(isinstance(answer, Trial) for answer in answers)


sizes = st.sampled_from([(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])


def no_prerequisites(need: Need) -> Path:
    raise AssertionError(f"nobody announced {need}")


@given(sizes, st.integers(2, 200), st.integers(1, 20_000))
@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: asked.label)
def test_any_budget_is_taken_or_refused_with_a_sentence(asked: Request, shape: tuple[int, int, int], classes: int, pixels: int) -> None:
    order = {"order": "identity"} if "order" in METHODS[asked.name].legal(asked.fields) else {}
    spec = Spec("any", classes, shape, tuple(map(str, range(classes))))
    check_takes_or_refuses(Request(asked.name, "", {**asked.fields, **order}), spec, pixels, find=no_prerequisites)


@pytest.mark.parametrize("asked", REQUESTS, ids=lambda asked: asked.label)
def test_budgets_that_are_tried_without_hypothesis(asked: Request) -> None:
    check_takes_or_refuses_some(asked)


# Parts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        pytest.param(check, parts[name], id=f"{parts.kind} {name}: {check.name}")
        for parts, checks in CLASS_CHECKS
        for name in parts
        for check in checks
    ],
)
def test_parts_as_classes(check: Check[Any], kind: type) -> None:
    check.run(kind)


@pytest.mark.parametrize("check", SELECTION_CHECKS, ids=named)
@pytest.mark.parametrize("name", list(SELECTIONS))
def test_selections(name: str, check: Check[PartTrial], digits: Dataset, tmp_path: Path) -> None:
    check.run(PartTrial(name, SELECTIONS[name], digits, tmp_path))


@pytest.mark.parametrize("check", PREREQUISITE_CHECKS, ids=named)
@pytest.mark.parametrize("name", list(PREREQUISITES))
def test_prerequisites(name: str, check: Check[PartTrial], digits: Dataset, tmp_path: Path) -> None:
    try:
        check.run(PartTrial(name, PREREQUISITES[name], digits, tmp_path))
    except Inapplicable as reason:
        pytest.skip(str(reason))


def test_every_kind_of_part_is_checked() -> None:
    checked = {METHODS, SELECTIONS, PREREQUISITES, *(parts for parts, _ in CLASS_CHECKS)}
    assert {*checked, registry.DATASETS} == set(registry._ALL)
    assert PARAMETERIZATIONS in checked
