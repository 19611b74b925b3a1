"""What every registered method keeps, at 0.3, 0.5 and 1 image per class of digits, each with a few outer steps.

A new method is picked up by itself. Its forms that serve as references (``reference_forms``) are held to the same.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from products import granted, plan
from registries import prerequisites_in
from torch import Tensor

from bench import FORMS as STORED_FORMS
from bench import METHODS, OBJECTIVES, BenchError, Dataset, DistilledSet, Method, Refusal, Spec, Task, registry
from bench.distilled import MANIFEST, TENSORS
from bench.guard import guarded
from bench.judge.audit import audit
from bench.keys import canonical_json, plain
from bench.nn.spaces import fit_space
from bench.recipes import check_fields

registry.discover()
BUDGETS = ("0.3", "0.5", "1")


def label(name: str, form: Mapping[str, Any]) -> str:
    return name + (f"[{','.join(f'{key}={value}' for key, value in form.items())}]" if form else "")


#: Every method as it stands, its reference forms, and every stored form with every objective.
FORMS = [(name, dict(form)) for name in METHODS for form in ({}, *METHODS[name].reference_forms)]
FORMS += [("rat_bptt", {"form": form, "objective": objective}) for form in STORED_FORMS for objective in OBJECTIVES]


@dataclass(frozen=True)
class Contest:
    """One method at one budget, ready to distil any number of times."""

    method: Method
    task: Task
    dataset: Dataset

    def distill(self, folder: Path, **changes: Any) -> DistilledSet:
        """Distil, with changes to the task, save into ``folder`` and return what was saved."""
        made = self.method.distill(dataclasses.replace(self.task, **changes))
        made.save(folder)
        return made


def build(name: str, form: Mapping[str, Any], budget_text: str, digits: Dataset, folder: Path) -> Contest | str:
    """Do what a sweep does before it distils; a sentence means that the method refuses."""
    spec, find = digits.spec, prerequisites_in(folder, digits)
    answer = plan(name, spec, budget_text, dict(form), recipes=True, find=find)
    if isinstance(answer, Refusal):
        return answer.reason
    task = Task(
        spec=spec,
        train=digits.train,
        budget=granted(budget_text, spec),
        seed=0,
        key=f"contract {label(name, form)} {budget_text}",
        open_space=lambda which: fit_space(which, digits.train),
        plan=json.loads(canonical_json(dict(answer.plan))),  # as it comes back from a record
        effort=2 / max(2, answer.outer_steps),
        find=find,
    )
    return Contest(answer.method, task, digits)


@pytest.fixture(
    scope="module", params=[(*form, budget) for form in FORMS for budget in BUDGETS], ids=lambda p: f"{label(p[0], p[1])} at {p[2]}"
)
def contest(request: pytest.FixtureRequest, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Contest:
    name, form, budget = request.param
    found = build(name, form, budget, digits, tmp_path_factory.mktemp("contest"))
    if isinstance(found, str):
        # To refuse is within the contract, provided the table can show why; nothing else is left to check.
        assert len(found.split()) >= 4
        assert "\n" not in found
        pytest.skip(f"refused: {found}")
    return found


@dataclass(frozen=True)
class FirstRun:
    """An ordinary run: the set read back from disk, and the states it offered to resume from."""

    folder: Path
    distilled: DistilledSet
    states: tuple[dict[str, Tensor], ...]


@pytest.fixture(scope="module")
def first(contest: Contest, tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    folder, states = tmp_path_factory.mktemp("first"), []

    def keep(state: Any) -> None:
        states.append({key: value.clone() for key, value in state().items()})

    contest.distill(folder, on_checkpoint=keep)
    return FirstRun(folder, DistilledSet.load(folder, contest.dataset.spec), tuple(states))


@dataclass(frozen=True)
class WatchedRun:
    """The same run again under a guard, from another state of the global generators; what changed on the way."""

    folder: Path
    made: DistilledSet
    violations: list[str]
    touched_generators: list[str]
    touched_data: bool


@pytest.fixture(scope="module")
def watched(contest: Contest, tmp_path_factory: pytest.TempPathFactory) -> WatchedRun:
    folder, before_data = tmp_path_factory.mktemp("watched"), contest.dataset.fingerprint()
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - the global generator is what is tested
    random.seed(12345)
    before = global_generators()
    with guarded(contest.dataset.files) as violations:
        made = contest.distill(folder)
    after = global_generators()
    touched = [name for name in before if before[name] != after[name]]
    return WatchedRun(folder, made, violations, touched, before_data != contest.dataset.fingerprint())


def global_generators() -> dict[str, Any]:
    """Return the states of the three global generators."""
    legacy = np.random.get_state()  # noqa: NPY002
    return {"torch": torch.get_rng_state().tolist(), "numpy": (legacy[1].tolist(), legacy[2]), "random": random.getstate()}


def same_bytes(one: Path, other: Path) -> bool:
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in (TENSORS, MANIFEST))


@pytest.fixture(params=list(METHODS))
def kind(request: pytest.FixtureRequest) -> type[Method]:
    found: type[Method] = METHODS[request.param]
    return found


def test_it_says_what_it_is(kind: type[Method]) -> None:
    assert METHODS[kind.name] is kind
    assert kind.reference.strip()
    assert isinstance(kind.version, int)
    module = inspect.getmodule(kind)
    assert module is not None
    assert "Stored" in (module.__doc__ or ""), "the module's docstring must say what is stored"


def test_its_fields_are_frozen_plain_and_described(kind: type[Method]) -> None:
    for parts in kind.candidates({}):
        method = kind.build(parts)
        canonical_json(plain(method.values()))  # raises on what cannot be part of a key
        assert pickle.loads(pickle.dumps(method)) == method
        assert set(method.values()) <= set(kind.legal(parts))
        for owner in owners(method):
            described = "".join(base.__doc__ or "" for base in type(owner).__mro__)
            for each in dataclasses.fields(owner):
                assert re.search(rf"^ +{each.name}: ", described, re.MULTILINE), f"field {each.name} is not described"
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(owner, each.name, None)


def owners(method: Any) -> list[Any]:
    """Return the dataclasses whose fields are hyper-parameters: the parts of a product, or the method itself."""
    parts = [getattr(method, each.name) for each in dataclasses.fields(method)]
    made_of = [part for part in parts if dataclasses.is_dataclass(part)]
    return [method, *made_of] if made_of else [method]


sizes = st.sampled_from([(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)])


@given(sizes, st.integers(2, 200), st.integers(1, 20_000))
@pytest.mark.parametrize(("name", "form"), FORMS, ids=[label(*form) for form in FORMS])
def test_any_budget_is_taken_or_refused_with_a_sentence(
    name: str, form: dict[str, Any], shape: tuple[int, int, int], classes: int, pixels: int
) -> None:
    spec = Spec("any", classes, shape, tuple(map(str, range(classes))))
    fields = dict(form) | ({"order": "identity"} if "order" in METHODS[name].legal(form) else {})
    answer = plan(name, spec, f"{pixels}px", fields)
    assert not isinstance(answer, Refusal) or len(answer.reason.split()) >= 4


def test_it_passes_the_audit_within_its_budget(contest: Contest, first: FirstRun) -> None:
    counted = audit(first.distilled, contest.task.budget)
    assert 0 < counted["pixels"] <= contest.task.budget.pixels


def test_the_same_seed_gives_the_same_bytes(first: FirstRun, watched: WatchedRun) -> None:
    assert same_bytes(first.folder, watched.folder)


def test_every_method_takes_some_budget(kind: type[Method], digits: Dataset, tmp_path: Path) -> None:
    """One that refuses everything would skip its whole contract."""
    find = prerequisites_in(tmp_path, digits)
    assert any(not isinstance(plan(kind.name, digits.spec, budget, {}, find=find), Refusal) for budget in BUDGETS)


def test_another_seed_gives_other_images(contest: Contest, first: FirstRun, tmp_path: Path) -> None:
    other = contest.distill(tmp_path, seed=1, key=f"{contest.task.key} other seed")
    assert not torch.equal(first.distilled.parameterization.decode().images, other.parameterization.decode().images)


def test_the_global_generators_are_left_alone(watched: WatchedRun) -> None:
    assert watched.touched_generators == []


def test_it_reaches_for_no_file_of_its_data_set(watched: WatchedRun) -> None:
    assert watched.violations == []


def test_training_data_stay_as_they_are(watched: WatchedRun) -> None:
    assert not watched.touched_data


def test_what_is_loaded_is_what_was_made(first: FirstRun, watched: WatchedRun) -> None:
    assert first.distilled.manifest() == watched.made.manifest()
    made, loaded = watched.made.parameterization.decode(), first.distilled.parameterization.decode()
    assert torch.equal(made.images, loaded.images)
    assert torch.equal(made.labels, loaded.labels)


def test_labels_are_what_they_are_declared_to_be(contest: Contest, first: FirstRun) -> None:
    parameterization = first.distilled.parameterization
    batch = parameterization.decode()
    assert batch.images.shape == (len(parameterization), *contest.dataset.spec.shape)
    assert batch.labels.shape == (len(parameterization), contest.dataset.spec.classes)
    assert torch.isfinite(batch.images).all()
    assert torch.isfinite(batch.labels).all()
    sums = batch.labels.sum(1)
    if parameterization.label_kind == "centred":
        torch.testing.assert_close(sums, torch.zeros_like(sums), rtol=0, atol=1e-3)
    else:
        assert batch.labels.min() >= 0
    if parameterization.label_kind == "probabilities":
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-3)


def test_decoding_by_index_is_decoding_all_and_picking(first: FirstRun) -> None:
    parameterization = first.distilled.parameterization
    everything = parameterization.decode()
    index = torch.arange(len(parameterization)).flip(0)[: max(1, len(parameterization) // 2)]
    some = parameterization.decode(index)
    torch.testing.assert_close(some.images, everything.images[index])
    torch.testing.assert_close(some.labels, everything.labels[index])


def test_the_task_holds_nothing_but_training_images(contest: Contest) -> None:
    held = {each.name: getattr(contest.task, each.name) for each in dataclasses.fields(contest.task)}
    assert not [name for name, value in held.items() if isinstance(value, Dataset)]
    assert held["train"] is contest.dataset.train
    assert held["score"] is None


def test_a_resumed_run_gives_the_same_bytes(contest: Contest, first: FirstRun, tmp_path: Path) -> None:
    """The first state that the method offers along the way must lead to the set of the run that was not interrupted."""
    contest.distill(tmp_path, resume_from=first.states[0] if first.states else None)
    assert same_bytes(first.folder, tmp_path)


def test_unknown_settings_are_refused_by_name(kind: type[Method]) -> None:
    with pytest.raises(BenchError, match="has no field 'no_such_field'"):
        check_fields(kind, {"no_such_field": 1}, "test")
