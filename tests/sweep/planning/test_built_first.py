"""What a plan says of what is built before its cells: how many, their room on disk, their time, and only what is not there."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry
from bench.prerequisite import Need, Prerequisite
from bench.prerequisite_store import PrerequisiteStore, ensure, resolve
from bench.sweep.planning.built_first import built_first
from bench.sweep.planning.estimate import readable
from bench.sweep.planning.plan import Plan
from bench.sweep.planning.planner import Planner
from bench.sweep.readers import merge
from bench.sweep.store import Store

MTT = "mtt[experts=3,network=convnet-d2-w8,expert_epochs=2,max_start=2]"
NUMBERS = 8 * 9 + 8 + 2 * 8 + 8 * 8 * 9 + 8 + 2 * 8 + 10 * 8 * 4 + 10


def plan_of(*methods: str, **changes: object) -> Plan:
    registry.discover()
    settings = replace(
        merge({}, None), methods=methods, datasets=("digits",), budgets=("0.5", "1"), seeds=(0, 1), students=1, no_reference=True
    )
    return Planner(replace(settings, **changes), PrerequisiteStore(Path("nowhere"))).plan()  # type: ignore[arg-type]


def rate(_: object) -> float:
    return 1e6


def expert_of(plan: Plan) -> Prerequisite:
    needed = plan.cells[0].cell.prerequisites[0]
    return resolve(Need(needed["name"], needed["config"], needed["seed"]))


def test_experts_of_all_cells_are_counted_once_with_their_room_and_time(tmp_path: Path) -> None:
    plan, store = plan_of(MTT), Store(tmp_path)
    size = 3 * 4 * 4 * NUMBERS  # three experts, four snapshots, four bytes
    expert = expert_of(plan)
    seconds = 3 * expert.flops(plan.datasets["digits"].spec, 800) / 1e6
    room, time = f"{size / 1e3:.0f} kB on disk", f"about {readable(seconds)} of one core"
    assert built_first(plan, store, rate) == f"built first, once for all cells: 3 experts ({room}, {time})"


def test_what_is_there_is_not_said_and_what_counts_nothing_has_no_costs(tmp_path: Path) -> None:
    plan, store = plan_of("herding", MTT), Store(tmp_path)
    assert "3 experts (" in built_first(plan, store, rate)
    assert built_first(plan, store, rate).endswith(", 2 features")
    needed = next(n for planned in plan.cells for n in planned.cell.prerequisites if n["name"] == "experts")
    ensure(Need(needed["name"], needed["config"], needed["seed"]), plan.datasets["digits"], PrerequisiteStore(store.prerequisites))
    assert "2 experts (" in built_first(plan, store, rate)


def test_where_nothing_is_to_be_built_nothing_is_said_and_no_speed_is_measured(tmp_path: Path) -> None:
    plan = plan_of("random")
    assert built_first(plan, Store(tmp_path), lambda _: pytest.fail("nobody counts operations")) == ""
    done = plan_of(MTT)
    for planned in done.cells:
        planned.state = "cached"
    assert built_first(done, Store(tmp_path), lambda _: math.nan) == ""
