"""Which facts about a cell name its set: every field of a cell stands in one of the two tables."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from bench.record import SCHEMA, Cell
from bench.sweep.planning.cell_keys import distil_key

CELL = Cell(
    kind="contestant",
    dataset="digits",
    data_hash="0123",
    split="dev",
    method="podd",
    variant="order=random",
    method_version=1,
    fields={"window": 3, "engine": "auto"},
    budget={"requested": "0.3", "pixels": 192, "ipc": 0.3},
    seed=1,
    effort=0.5,
    protocol={"name": "native-v1", "hash": "abcd"},
    identity={"product": {"form": ["poster", 1]}},
    unkeyed=["engine"],
    plan={"images": 21},
    prerequisites=[{"name": "features", "key": "one", "used": "distilling"}, {"name": "class_distances", "key": "two", "used": "planning"}],
)

KEYED: dict[str, Any] = {
    "data_hash": "4567",
    "split": "paper",
    "fields": {"window": 4, "engine": "auto"},
    "budget": {"requested": "0.3", "pixels": 191, "ipc": 0.3},
    "seed": 2,
    "effort": 0.25,
    "identity": {"product": {"form": ["poster", 2]}},
    "unkeyed": [],
    "plan": {"images": 20},
    "prerequisites": [{"name": "features", "key": "other", "used": "distilling"}],
}

NOT_KEYED: dict[str, Any] = {
    "kind": "reference",
    "dataset": "another name of the same data",
    "method": "rat_bptt",
    "variant": "form=poster",
    "method_version": 2,
    "fields": {"window": 3, "engine": "plain"},
    "budget": {"requested": "192px", "pixels": 192, "ipc": 0.300001},
    "protocol": {"name": "common-v1", "hash": "ef01"},
    "code_hash": "2345",
    "aliases": ["rat_bptt[form=poster]"],
    "adapted": "lowres",
    "external": "CLIP",
    "notes": ["a note"],
    "tuned": True,
    "tuning_trials": 7,
    "sources": ["a paper"],
    "published": [{"accuracy": 53.2, "source": "a table"}],
    "reference": "a paper",
    "outer_steps": 9,
    "network": "convnet-d2-w8",
    "unofficial": True,
    "parts": {"form": "poster"},
    "origin": "imported from a file",
    "prerequisites": [
        {"name": "features", "key": "one", "used": "distilling"},
        {"name": "class_distances", "key": "3", "used": "planning"},
    ],
}


@pytest.mark.parametrize("field", KEYED)
def test_what_can_change_a_set_is_in_its_key(field: str) -> None:
    assert distil_key(replace(CELL, **{field: KEYED[field]})) != distil_key(CELL)


@pytest.mark.parametrize("field", NOT_KEYED)
def test_what_cannot_change_a_set_is_not_in_its_key(field: str) -> None:
    assert distil_key(replace(CELL, **{field: NOT_KEYED[field]})) == distil_key(CELL)


def test_every_field_of_a_cell_is_keyed_or_is_not() -> None:
    assert {item.name for item in fields(Cell)} == {*KEYED, *NOT_KEYED}


def test_the_order_of_prerequisites_does_not_name_a_set() -> None:
    several = [{"name": "features", "key": key, "used": "distilling"} for key in ("one", "two")]
    assert distil_key(replace(CELL, prerequisites=several)) == distil_key(replace(CELL, prerequisites=several[::-1]))


def test_a_known_key_stays() -> None:
    """Sets on a user's disk are found by it; whoever changes the key on purpose raises the schema and this number."""
    assert (SCHEMA, distil_key(CELL)) == (2, "3bfd18965c1795f400014c63")
