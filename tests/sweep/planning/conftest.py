"""Plans of the toy method on the toy data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry
from bench.prerequisite_store import PrerequisiteStore
from bench.sweep.planning.plan import Plan
from bench.sweep.planning.planner import Planner
from bench.sweep.readers import merge

TOY = str(Path(__file__).parents[1] / "plugins" / "toy.py")


@pytest.fixture
def make(forget_plugins: None, tmp_path: Path) -> Callable[..., Plan]:
    """Return a function that plans one cell of the toy, with other settings if they are given."""
    registry.discover((TOY,))

    def plan(**changes: object) -> Plan:
        settings = replace(
            merge({}, None), methods=("toy_mean",), datasets=("toy",), budgets=("1",), seeds=(0,), students=1, no_reference=True
        )
        return Planner(replace(settings, **changes), PrerequisiteStore(tmp_path / "prerequisites")).plan()  # type: ignore[arg-type]

    return plan
