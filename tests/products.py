"""Plans and distils one cell without a sweep around it, as the suite does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import Budget, BudgetRequest, Dataset, Method, Need, PlanContext, Refusal, Resolution, Spec, Task
from bench.brackets import Request
from bench.contract.trials import plan_request
from bench.nn.spaces import fit_space


def no_prerequisites(need: Need) -> Path:
    raise AssertionError(f"nobody announced {need}")


def granted(text: str, spec: Spec) -> Budget:
    return BudgetRequest.parse(text).resolve(spec.classes, spec.height, spec.width)


def plan(
    name: str,
    spec: Spec,
    budget: str,
    fields: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    recipes: bool = False,
    find: Callable[[Need], Path] = no_prerequisites,
) -> Resolution | Refusal:
    """Plan a method with some fields set, without its recipes unless they are asked for."""
    context = PlanContext(spec, granted(budget, spec), seed, find=find)
    return plan_request(Request(name, "", fields or {}), context, recipes)


def planned(name: str, spec: Spec, budget: str, fields: dict[str, Any] | None = None, **options: Any) -> Resolution:
    """Plan a method that must not refuse."""
    answer = plan(name, spec, budget, fields, **options)
    assert isinstance(answer, Resolution), answer
    return answer


def task_for(dataset: Dataset, resolution: Resolution, budget: str = "1", key: str = "test key", **options: Any) -> Task:
    """Return the task of a planned cell."""
    return Task(
        spec=dataset.spec,
        train=dataset.train,
        budget=granted(budget, dataset.spec),
        seed=options.pop("seed", 0),
        key=key,
        open_space=lambda name: fit_space(name, dataset.train),
        plan=resolution.plan,
        **options,
    )


def distilled(dataset: Dataset, method: Method, resolution: Resolution, budget: str = "1", **options: Any) -> dict[str, Any]:
    """Distil and return the stored tensors."""
    return method.distill(task_for(dataset, resolution, budget, **options)).parameterization.state_dict()


def assert_resumed_runs_agree(dataset: Dataset, resolution: Resolution, steps: int) -> None:
    """Go on from the checkpoint of every outer step but the last, and compare the bytes with those of the whole run."""
    states: list[dict[str, Any]] = []
    keep = {"on_checkpoint": lambda state: states.append({key: tensor.clone() for key, tensor in state().items()})}
    whole = distilled(dataset, resolution.method, resolution, **keep)
    assert len(states) == steps
    for state in states[:-1]:
        resumed = distilled(dataset, resolution.method, resolution, resume_from=state)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
